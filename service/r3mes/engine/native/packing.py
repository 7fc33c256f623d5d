"""Weights as the operators want them: in panels, in 32, 16 or 8 bits.

Owns the memory of packed weights. Knows nothing of which module a weight is from.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from r3mes.engine.native.library import (
    BF16,
    F32,
    INT8,
    PANEL,
    STRIPE,
    Arena,
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
    arena: Arena,
    matrix: Tensor,
    *,
    kind: int,
    bias: Tensor | None = None,
    group: int | None = None,
) -> Packed:
    """Pack [n, k]. 8 bits have a scale for each `group` inputs of an output."""
    n, k = matrix.shape
    panels = -(-n // PANEL)
    group = group or group_of(k)
    data = arena.take(panels * PANEL * k * BYTES[kind])
    weight = Weight(data=data, n=n, k=k, kind=kind, group=group)
    groups = k // group if kind == INT8 else 0
    scales = torch.zeros(groups, panels * PANEL)
    sums = torch.zeros(groups, panels * PANEL, dtype=torch.int32)
    weight.scales, weight.sums = scales.data_ptr(), sums.data_ptr()
    biases = torch.zeros(panels * PANEL)
    if bias is not None:
        biases[:n] = bias.detach()
    weight.bias = biases.data_ptr()
    for at in range(0, n, ROWS_AT_ONCE):  # in parts, since each makes copies of its size
        rows = matrix.detach()[at : at + ROWS_AT_ONCE].float()
        rows = F.pad(rows, (0, 0, 0, -len(rows) % PANEL))
        to = data + at * k * BYTES[kind]
        if kind == INT8:
            columns = slice(at, at + len(rows))
            lay_small(rows, group, to, scales[:, columns], sums[:, columns])
        else:
            parts = rows.view(-1, PANEL, k).transpose(1, 2)
            if kind == BF16:  # [panels, k, STRIPE, 2]
                parts = rows.view(-1, 2, STRIPE, k).permute(0, 3, 2, 1)
            dtype = torch.bfloat16 if kind == BF16 else torch.float32
            numbers_at(to, parts.shape, dtype).copy_(parts)
    return Packed(weight, (arena, scales, sums, biases))


def lay_small(rows: Tensor, group: int, to: int, scales: Tensor, sums: Tensor) -> None:
    """In 8 bits, to the nearest of 127 steps of each group's largest, ties to even."""
    parts = rows.view(len(rows), -1, group)
    high = parts.abs().amax(dim=-1)
    steps = torch.where(high > 0, 127 / high, 0.0)
    small = (parts * steps[..., None]).round_()
    scales.copy_(high.T / 127)
    sums.copy_(small.sum(dim=-1).T)
    quads = small.view(-1, PANEL, rows.shape[1] // 4, 4).transpose(1, 2)
    numbers_at(to, quads.shape, torch.int8).copy_(quads)


def numbers_at(address: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The arena's memory as a tensor."""
    raw = (ctypes.c_char * (shape.numel() * dtype.itemsize)).from_address(address)
    return torch.frombuffer(raw, dtype=dtype).view(shape)


def group_of(k: int) -> int:
    """The longest stretch of inputs up to MOST_GROUP that divides them and fills whole vectors."""
    fits = (k // parts for parts in range(1, k + 1) if k % parts == 0 and k // parts % STRIPE == 0)
    return next((size for size in fits if size <= MOST_GROUP), k)


def packable(k: int, *, kind: int) -> bool:
    return kind != INT8 or k % STRIPE == 0


def in_turn(gate: Tensor, up: Tensor) -> Tensor:
    """Sixteen rows of the one, sixteen of the other, and so on: [2n, ...]."""
    pair = [part.view(-1, STRIPE, *part.shape[1:]) for part in (gate, up)]
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
