"""Brings a runner to life: threads, imports, the model. The one place here that reaches for torch.

Loading takes its time in a thread of its own, so that the heart goes on beating.
"""

import gc
import importlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import NamedTuple

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.cores import usable_cores
from r3mes.engine.fake import load_fake
from r3mes.engine.heart import IDLE_S, Heart
from r3mes.engine.messages import ModelInfo
from r3mes.engine.runner import Runner
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings

COMPILED_SHAPES = "128"  # some twenty numbers of rows

Do = Callable[[Callable[[], None]], None]  # have the main thread do something


class Loaded(NamedTuple):
    model: ModelInfo
    runner: Runner


def boot(model: ModelSettings, engine: EngineSettings, *, heart: Heart) -> Loaded:
    """The model with its runner, ready to run. Raises StartError when it cannot be served."""
    if engine.runner == "fake":
        heart.enter("loading", "the fake runner")
        loaded = Loaded(*load_fake(model, engine))
    else:
        loaded = beside(heart, lambda do: _load_real(model, engine, heart=heart, do=do))
        _set_threads(engine)  # they are counted per thread, and it was another one that loaded
    heart.model = loaded.model
    return loaded


def beside(heart: Heart, load: Callable[[Do], Loaded]) -> Loaded:
    """Run `load` in a thread; until it is done, this one beats and does what it is told."""
    orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
    with ThreadPoolExecutor(1, "load") as threads:
        loading = threads.submit(load, orders.put)
        loading.add_done_callback(lambda _: orders.put(heart.beat))
        while not (loading.done() and orders.empty()):
            try:
                orders.get(timeout=IDLE_S)()
            except Empty:
                heart.beat()
        return loading.result()


def _load_real(model: ModelSettings, engine: EngineSettings, *, heart: Heart, do: Do) -> Loaded:
    do(lambda: heart.enter("loading", f"looking for {model.source}"))
    with installed():
        from r3mes.engine.source import locate, served_name

    def progress(share: float, detail: str) -> None:
        do(lambda: heart.advance(share, detail))

    # A wrong name or folder is told before the slow imports.
    checkpoint = read_checkpoint(locate(model, progress=progress))
    began = time.monotonic()
    progress(0.0, "importing torch and transformers")
    with installed():
        _import(engine)
        from r3mes.engine.load import load_model

    imported = time.monotonic()
    do(lambda: heart.took("import", imported - began))
    loaded = load_model(
        model,
        engine,
        checkpoint=checkpoint,
        progress=progress,
        accepted=lambda path: do(lambda: heart.found(_located(served_name(model), path))),
    )
    read = time.monotonic()
    do(lambda: heart.took("load", read - imported))
    return Loaded(loaded.info, loaded.runner)


def _import(engine: EngineSettings) -> None:
    """The slow part of importing, once."""
    gc.disable()  # of a hundred thousand new objects none is garbage
    try:
        _set_threads(engine)
        importlib.import_module("r3mes.engine.load")
    finally:
        gc.enable()


@contextmanager
def installed() -> Iterator[None]:
    """Imports in this block that find no library raise a StartError that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"{error.name} is not installed: a model needs `pip install 'r3mes[engine]'`"
        raise StartError(wanted) from error


def _set_threads(engine: EngineSettings) -> None:
    """Before torch starts its threads: idle ones must sleep, not spin on a shared machine.

    oneDNN keeps what it compiled for each number of rows, half a megabyte a time; a step's rows are
    of any number, so without a bound that grows by hundreds of megabytes and is hardly ever used.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, COMPILED_SHAPES)
    import torch

    torch.set_num_threads(engine.threads or usable_cores())


def _located(name: str, path: str) -> ModelInfo:
    """What is known before the weights are read: enough for a worker to load the tokenizer."""
    return ModelInfo(
        name=name,
        path=path,
        max_len=0,
        vocab_size=0,
        eos_token_ids=(),
        dtype="",
        device="",
        fingerprint="",
        defaults={},
    )
