"""Weights as the operators want them: in panels, in 32, 16 or 8 bits.

Owns the memory of packed weights. Knows nothing of which module a weight is from.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from r3mes.engine.native.library import (
    BF16,
    F32,
    INT8,
    LANES,
    PANEL,
    Arena,
    Operators,
    Weight,
)

BYTES = {F32: 4, BF16: 2, INT8: 1}
# Inputs that share a scale in 8 bits. One scale for all of an output's inputs cost 1.9 % perplexity
# of the bundled model, groups of 128 half a percent (docs/benchmarks/engine.md).
MOST_GROUP = 160
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """The structure that the operators read, and what has to live as long as it."""

    weight: Weight
    kept: tuple[object, ...]


def pack(
    found: Operators,
    arena: Arena,
    matrix: Tensor,
    *,
    kind: int,
    bias: Tensor | None = None,
    group: int | None = None,
) -> Packed:
    """Pack [n, k]. 8 bits have a scale for each `group` inputs of an output."""
    n, k = matrix.shape
    plain = matrix.detach().float().contiguous()
    panels = -(-n // PANEL)
    group = group or group_of(k)
    data = arena.take(panels * PANEL * k * BYTES[kind])
    weight = Weight(data=data, n=n, k=k, kind=kind, group=group)
    kept: list[object] = [arena]
    if kind == INT8:
        scales = torch.zeros(k // group, panels * PANEL)
        sums = torch.zeros(k // group, panels * PANEL, dtype=torch.int32)
        weight.scales, weight.sums = scales.data_ptr(), sums.data_ptr()
        kept += [scales, sums]
    if bias is not None:
        held = bias.detach().float().contiguous()
        weight.bias = held.data_ptr()
        kept.append(held)
    found.functions.r3mes_pack(plain.data_ptr(), ctypes.byref(weight))
    return Packed(weight, tuple(kept))


def group_of(k: int) -> int:
    """The longest stretch of inputs up to MOST_GROUP that divides them and fills whole vectors."""
    fits = (k // parts for parts in range(1, k + 1) if k % parts == 0 and k // parts % LANES == 0)
    return next((size for size in fits if size <= MOST_GROUP), k)


def packable(k: int, *, kind: int) -> bool:
    return kind != INT8 or k % LANES == 0


def in_turn(gate: Tensor, up: Tensor) -> Tensor:
    """Sixteen rows of the one, sixteen of the other, and so on: [2n, ...]."""
    pair = [part.view(-1, LANES, *part.shape[1:]) for part in (gate, up)]
    return torch.stack(pair, dim=1).flatten(0, 2)


def kind_of(wish: str, matrices: Sequence[Tensor]) -> int:
    """`auto` keeps 16 bits where that is exact: for what was bfloat16 in the checkpoint."""
    if wish == "auto":
        return BF16 if all(map(is_bfloat16, matrices)) else F32
    return {"float32": F32, "bfloat16": BF16, "int8": INT8}[wish]


def is_bfloat16(matrix: Tensor) -> bool:
    """Are the lower halves of its float32 numbers all zero?"""
    if matrix.dtype == torch.bfloat16:
        return True
    if matrix.dtype != torch.float32:
        return False
    bits = matrix.detach().view(torch.int32)  # in parts, since each makes a copy of its size
    parts = (bits[at : at + ROWS_AT_ONCE] for at in range(0, len(bits), ROWS_AT_ONCE))
    return not any((part & 0xFFFF).any() for part in parts)
