"""What a step tells the device: one buffer of int32, filled here and copied at once.

Owns the layout and the buffers, which stay where they are: a recorded graph reads them at every
replay. Two of them are filled in turn on the host, for the copy of a step may still wait behind the
step before when the next one is prepared. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r3mes.engine.runner import Row

Numbers = np.ndarray[Any, np.dtype[np.int32]]
STRIDE = 4  # sections begin at multiples of 16 bytes, as the kernels were compiled for
NONE = -1  # a slot that keeps nothing, a token that follows no row
BLANK = Row((0,), -1, (), None)  # sees and keeps nothing; fills a batch up


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of the sheet counts: tokens, tiles, of which the first `single` are rows with one
    token, and places that yield logits."""

    tokens: int
    single: int
    tiles: int
    kept: int


class Side:
    """The buffer on one side, and its sections."""

    def __init__(self, buffer: Tensor, sections: dict[str, slice]) -> None:
        self.buffer = buffer
        self.parts = {name: buffer[section] for name, section in sections.items()}


class Staging(Side):
    """On the host; `sent` tells that the device has read it."""

    def __init__(self, size: int, sections: dict[str, slice], *, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        super().__init__(torch.zeros(size, dtype=torch.int32, pin_memory=on_gpu), sections)
        self.numbers: dict[str, Numbers] = {n: it.numpy() for n, it in self.parts.items()}
        self.sent = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]


class Sheet:
    """For so many tokens and rows at most, and block tables of `table` numbers in all."""

    def __init__(
        self, *, tokens: int, rows: int, table: int, block_size: int, device: torch.device
    ) -> None:
        self.rows, self.block_size = rows, block_size
        per_token = ("tokens", "positions", "slots", "follows", "kept", "tile_rows", "tile_firsts")
        sizes = dict.fromkeys(per_token, tokens)
        sizes |= {"begins": rows + 1, "lengths": rows, "table_begins": rows}
        sizes["tables"] = table  # last: only what is used of it is copied
        ends = list(accumulate(-(-size // STRIDE) * STRIDE for size in sizes.values()))
        begins = [0, *ends[:-1]]
        sections = {
            name: slice(at, at + sizes[name]) for name, at in zip(sizes, begins, strict=True)
        }
        self._before_tables = begins[-1]
        self._stagings = [Staging(ends[-1], sections, device=device) for _ in range(2)]
        self.device = Side(torch.zeros(ends[-1], dtype=torch.int32, device=device), sections)

    def write(self, rows: Sequence[Row], keep: Sequence[int], *, tile: int) -> Plan:
        """Rows in the order of the flat batch, in tiles of so many tokens; on its way to the device
        when this returns. A row without blocks is blank: it ends at position 0."""
        staging = self._next_staging()
        numbers = staging.numbers
        counts = np.fromiter((len(row.tokens) for row in rows), np.int32, len(rows))
        begins = numbers["begins"][: len(rows) + 1]
        begins[0] = 0
        np.cumsum(counts, out=begins[1:])
        used = self._write_rows(numbers, rows, counts)
        tiles = _write_tiles(numbers, counts, tile)
        numbers["kept"][: len(keep)] = keep
        self._send(staging, self._before_tables + used)
        return Plan(int(begins[-1]), int((counts == 1).sum()), tiles, len(keep))

    def _write_rows(self, numbers: dict[str, Numbers], rows: Sequence[Row], counts: Numbers) -> int:
        """Returns how many numbers the block tables take."""
        begins, size = numbers["begins"][: len(rows) + 1], self.block_size
        total = begins[-1]
        starts = np.fromiter((row.start for row in rows), np.int32, len(rows))
        numbers["lengths"][: len(rows)] = starts + counts
        flat = chain.from_iterable(row.tokens for row in rows)
        numbers["tokens"][:total] = np.fromiter(flat, np.int32, total)
        places = np.arange(total, dtype=np.int32) + np.repeat(starts - begins[:-1], counts)
        numbers["positions"][:total] = np.maximum(places, 0)

        widths = np.fromiter((len(row.blocks) for row in rows), np.int32, len(rows))
        ends = np.cumsum(widths, dtype=np.int32)
        used = int(ends[-1])
        table = chain.from_iterable(row.blocks for row in rows)
        numbers["tables"][:used] = np.fromiter(table, np.int32, used)
        numbers["table_begins"][: len(rows)] = ends - widths
        lines = np.repeat(ends - widths, counts) + places // size
        blocks = numbers["tables"][np.where(places < 0, 0, lines)]
        numbers["slots"][:total] = np.where(places < 0, NONE, blocks * size + places % size)

        follows = numbers["follows"][:total]
        follows[:] = NONE
        told = [(end - 1, row.follows) for end, row in zip(begins[1:], rows, strict=True)]
        for last, row in told:
            if row is not None:
                follows[last] = row
        return used

    def _next_staging(self) -> Staging:
        self._stagings.reverse()
        staging = self._stagings[0]
        if staging.sent is not None:
            staging.sent.synchronize()  # long done, but for a host that is far ahead
        return staging

    def _send(self, staging: Staging, count: int) -> None:
        self.device.buffer[:count].copy_(staging.buffer[:count], non_blocking=True)
        if staging.sent is not None:
            staging.sent.record()


def _write_tiles(numbers: dict[str, Numbers], counts: Numbers, tile: int) -> int:
    """Every row cut into tiles; returns how many there are."""
    each = -(-counts // tile)
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), each)
    befores = np.cumsum(each) - each
    numbers["tile_rows"][: len(rows)] = rows
    numbers["tile_firsts"][: len(rows)] = (np.arange(len(rows)) - befores[rows]) * tile
    return len(rows)
