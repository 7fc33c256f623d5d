"""One forward pass over ragged rows: where each row lies in the flat batch and what it may see.

Owns the order of the flat batch and the index tensors, made once and shared by all layers. Knows
nothing of models or sampling.

Rows that feed one token come first, by length; those of similar length form one group, padded to
its longest, and are answered by one call. Every other row is answered by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r3mes.engine import attention
from r3mes.engine.attention import Heads, Mask, Sight, attend
from r3mes.engine.kv_store import KVStore
from r3mes.engine.runner import Row
from r3mes.engine.transfer import to_device


@dataclass(frozen=True, slots=True)
class Group:
    """Rows first..last of the ordered batch, which feed tokens begin..end of the flat one."""

    first: int
    last: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class View:
    """The blocks a group reads, [B, n], and the mask over their n x block size positions."""

    table: Tensor
    mask: Mask


def order(rows: Sequence[Row]) -> list[int]:
    """Indices of the rows in the order of the flat batch."""
    return sorted(
        range(len(rows)),
        key=lambda i: (len(rows[i].tokens) > 1, rows[i].start, len(rows[i].tokens)),
    )


def length(row: Row) -> int:
    return row.start + len(row.tokens)


def group(rows: Sequence[Row], *, block_size: int, most_blocks: int) -> Iterator[Group]:
    """Cut the ordered rows; padding never doubles a group's shortest row nor overfills the desk."""
    first = begin = 0
    while first < len(rows):
        last, end = first + 1, begin + len(rows[first].tokens)
        if end - begin == 1:
            limit = 2 * blocks_of(length(rows[first]), block_size) + 1
            while last < len(rows) and len(rows[last].tokens) == 1:
                wide = blocks_of(length(rows[last]), block_size)
                if wide > limit or wide * (last - first + 1) > most_blocks:
                    break
                last, end = last + 1, end + 1
        yield Group(first, last, begin, end)
        first, begin = last, end


def blocks_of(tokens: int, block_size: int) -> int:
    return -(-tokens // block_size)


@dataclass
class PagedStep:
    """Implements `attention.Step` over the KV store. `rows` are in the order of the flat batch."""

    rows: Sequence[Row]
    store: KVStore
    dtype: torch.dtype
    slots: Tensor = field(init=False)
    groups: list[Group] = field(init=False)
    views: dict[tuple[int, int | None], View] = field(init=False, default_factory=dict)
    room: int = field(init=False)  # bytes of masks that may still be kept

    def __post_init__(self) -> None:
        size, self.room = self.store.block_size, attention.SCORES_BYTES
        places = []
        for row in self.rows:
            at = np.arange(row.start, length(row))
            places.append(np.asarray(row.blocks)[at // size] * size + at % size)
        self.slots = self._tensor(np.concatenate(places))
        self.groups = list(group(self.rows, block_size=size, most_blocks=self.store.group_blocks))

    def attend(self, layer: int, heads: Heads) -> Tensor:
        self.store.write(layer, self.slots, heads.key, heads.value)
        parts = [self._attend_group(layer, heads, one) for one in self.groups]
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts, dim=1)

    def _attend_group(self, layer: int, heads: Heads, one: Group) -> Tensor:
        part = slice(one.begin, one.end)
        query = heads.query[:, :, part]
        row = self.rows[one.first]
        window = self._window(one, heads.window)
        if len(row.tokens) > 1 and row.start == 0 and window is None:
            return attend(query, heads.key[:, :, part], heads.value[:, :, part], heads, None)
        view = self.view(one, window)
        key, value = self.store.gather(layer, view.table)
        if len(row.tokens) > 1:
            return attend(query, key, value, heads, view.mask)
        # [1, Hq, B, D] -> [B, Hq, 1, D]: each row is its own sequence
        out = attend(query.transpose(0, 2), key, value, heads, view.mask)
        return out.transpose(0, 1)

    def _window(self, one: Group, window: int | None) -> int | None:
        """None where the window hides nothing."""
        longest = max(length(row) for row in self.rows[one.first : one.last])
        return window if window is not None and window < longest else None

    def view(self, one: Group, window: int | None) -> View:
        key = (one.first, window)
        if key not in self.views:
            self.views[key] = self._make_view(self.rows[one.first : one.last], window)
        return self.views[key]

    def _make_view(self, rows: Sequence[Row], window: int | None) -> View:
        size = self.store.block_size
        begins = [0 if window is None else max(0, row.start - window + 1) // size for row in rows]
        ends = [blocks_of(length(row), size) for row in rows]
        widest = max(end - begin for begin, end in zip(begins, ends, strict=True))
        table = np.full((len(rows), widest), self.store.zero_block, dtype=np.int64)
        for line, row, begin, end in zip(table, rows, begins, ends, strict=True):
            line[: end - begin] = row.blocks[begin:end]
        feed = len(rows[0].tokens)
        asks = np.array([row.start for row in rows])[:, None] + np.arange(feed)[None]
        seen = np.array(begins)[:, None] * size + np.arange(widest * size)[None]
        sight = Sight(self._tensor(asks), self._tensor(seen), window, self.dtype)
        return View(self._tensor(table), self._mask(sight))

    def _mask(self, sight: Sight) -> Mask:
        """Kept for all layers as long as there is room, else made anew for each of them."""
        if sight.nbytes > self.room:
            return sight.mask
        self.room -= sight.nbytes
        return sight.kept()

    def _tensor(self, numbers: np.ndarray[Any, Any]) -> Tensor:
        return to_device(numbers, torch.int64, self.store.device)
