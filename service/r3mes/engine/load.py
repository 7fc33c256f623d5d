"""From settings to a model that is ready to run, or to the one reason why it cannot be.

Owns the order of things: choose class and type, read, choose the path, size the cache.
Knows nothing of scheduling or of the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import torch

from r3mes.engine import attention
from r3mes.engine.architecture import build_config, model_class, positions
from r3mes.engine.checkpoint import Checkpoint, Weights, fingerprint
from r3mes.engine.generation_defaults import eos_ids, sampling
from r3mes.engine.memory import free_memory
from r3mes.engine.messages import ModelInfo
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.paths import Module, Path, choose
from r3mes.engine.pool_size import pool_size
from r3mes.engine.probe import survey
from r3mes.engine.source import Progress, served_name
from r3mes.engine.weights import choose_device, choose_dtype, read_weights, refuse_too_large
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings

NO_ROOM = (
    "beside the KV cache the device has no room for a full batch: "
    "lower R3MES_ENGINE__KV_MEMORY_FRACTION or R3MES_ENGINE__MAX_BATCH"
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    info: ModelInfo
    runner: ModelRunner


def load_model(
    model: ModelSettings,
    engine: EngineSettings,
    *,
    checkpoint: Checkpoint,
    progress: Progress,
    accepted: Callable[[str], None],
) -> LoadedModel:
    """Raises StartError with one line that says why the model cannot be served.

    `accepted` hears of the folder before the weights are read: its tokenizer can be loaded then.
    """
    folder, weights = checkpoint.folder, checkpoint.weights
    config = build_config(checkpoint.config)
    native_class = model_class(config)
    longest = choose_length(model.max_len, config)
    accepted(str(folder))

    def read() -> Module:
        progress(0.1, f"reading {weights.elements / 1e6:.1f} million weights")
        module = read_module(model, folder, config, weights, native_class=native_class)
        progress(0.5, "comparing with the architecture's own")
        return replace(module, positions=longest)

    module, path = choose(read, model, engine)
    progress(0.9, "making the KV cache")
    pool = pool_size(
        path.shapes.values(),
        engine,
        longest=longest,
        asked=model.max_len,
        free=free_memory(module.device),
        cpu=module.device.type == "cpu",
    )
    try:
        forward = path.forward(pool)
    except torch.OutOfMemoryError as error:
        raise StartError(NO_ROOM) from error
    runner = ModelRunner(forward, eos=module.eos)
    progress(1.0, f"a KV cache of {pool.tokens} tokens")
    info = describe(model, module, path, checkpoint, max_len=min(longest, pool.tokens))
    return LoadedModel(info, runner)


def describe(
    model: ModelSettings, module: Module, path: Path, checkpoint: Checkpoint, *, max_len: int
) -> ModelInfo:
    folder, weights, compute = checkpoint.folder, checkpoint.weights, path.compute
    dtype = str(module.dtype).removeprefix("torch.")
    numbers = f"{dtype} {compute.weights} {compute.kv}"  # with other ones answers differ
    return ModelInfo(
        name=served_name(model),
        path=str(folder),
        max_len=max_len,
        vocab_size=module.vocab_size,
        eos_token_ids=module.eos,
        dtype=dtype,
        device=str(module.device),
        fingerprint=fingerprint(folder, weights, dtype=numbers, template=model.chat_template),
        defaults=sampling(folder),
        compute=compute,
    )


def choose_length(asked: int | None, config: Any) -> int:
    """The user's limit or the model's; more than the model has positions is refused."""
    most = positions(config)
    if asked is not None and asked > most:
        raise StartError(f"max_len is {asked}, and the model has {most} positions")
    return asked or most


def read_module(
    model: ModelSettings, folder: FilePath, config: Any, weights: Weights, *, native_class: Any
) -> Module:
    attention.register()
    device = choose_device(model.device)
    dtype = choose_dtype(model.dtype, device, weights)
    refuse_too_large(weights, dtype, free_memory(device))
    module = read_weights(native_class, config, folder, dtype=dtype, device=device)
    vocab_size = module.get_input_embeddings().weight.shape[0]
    eos = eos_ids(folder, config, vocab_size=vocab_size)
    return Module(module, survey(module), vocab_size, eos, dtype, device)
