"""Weights into a native module: on which device, in which type, and whether they are whole.

Safetensors only, no remote code. Knows nothing of attention's function or of the cache.
"""

from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from r3mes.engine.attention import NAME
from r3mes.engine.checkpoint import Weights
from r3mes.errors import StartError, first_line

DTYPES = {
    "F64": torch.float32,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
GIB = 1 << 30


def choose_device(wish: str) -> torch.device:
    if wish == "cuda" and not torch.cuda.is_available():
        raise StartError("no CUDA device is present")
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return (
        torch.device("cuda", torch.cuda.current_device()) if wish == "cuda" else torch.device(wish)
    )


def choose_dtype(wish: str, device: torch.device, weights: Weights) -> torch.dtype:
    """`auto` is exact on a CPU, and what the checkpoint holds on a GPU."""
    if wish != "auto":
        chosen: torch.dtype = getattr(torch, wish)
        return chosen
    return torch.float32 if device.type == "cpu" else DTYPES[weights.dtype]


def refuse_too_large(weights: Weights, dtype: torch.dtype, free: int) -> None:
    needed = weights.elements * dtype.itemsize
    if needed > free:
        raise StartError(
            f"the weights need {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB are free"
        )


def read_weights(
    model_class: Any, config: Any, folder: Path, *, dtype: torch.dtype, device: torch.device
) -> Any:
    """The module in evaluation mode, with every weight from the files and every one finite."""
    transformers_logging.disable_progress_bar()
    try:
        model, notes = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        model = model.eval().to(device)
    except Exception as error:
        raise StartError(f"the weights cannot be loaded: {first_line(error)}") from error
    _refuse_unlike(notes)
    _refuse_not_finite(model)
    return model


def _refuse_unlike(notes: Any) -> None:
    """A weight that the files lack would be random."""
    for kind, what in (("missing_keys", "are missing"), ("mismatched_keys", "have another shape")):
        names = sorted(map(str, notes[kind]))
        if names:
            raise StartError(f"{len(names)} weights {what}, the first is {names[0][:120]}")


def _refuse_not_finite(model: Any) -> None:
    """Extremes of a tensor tell in one pass and without a copy of it."""
    for name, weight in model.named_parameters():
        if not all(bound.isfinite() for bound in weight.detach().aminmax()):
            raise StartError(f"the weights hold numbers that are not finite, in {name[:120]}")
