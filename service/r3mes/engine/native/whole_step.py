"""The whole forward pass of a Llama-shaped model as one call.

Owns the buffers of a step. Which tensors of a module go where is told by `families`.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from r3mes.engine.attention import Heads
from r3mes.engine.forward import Logits
from r3mes.engine.native.cache import NativeCache
from r3mes.engine.native.library import STRIPE, Batch, Layer, Model, Operators, Room, Team
from r3mes.engine.runner import Row


@dataclass(frozen=True, slots=True)
class Structure:
    """A model as the operators see it; `kept` lives as long."""

    model: Model
    layers: "ctypes.Array[Layer]"
    heads: Mapping[int, Heads]
    embedding: Tensor  # [vocabulary, hidden], times `embedding_scale`
    embedding_scale: float
    kept: list[object]

    @property
    def widest(self) -> int:
        """Of a token's activations, but for queries, keys and values together."""
        inputs = (weight.k for it in self.layers for weight in (it.qkv, it.out, it.down))
        return max(map(int, inputs))

    @property
    def qkv(self) -> int:
        return max(int(it.qkv.n) for it in self.layers)


class WholeStep:
    """Implements `forward.Forward`."""

    device = torch.device("cpu")
    ahead = False

    def __init__(
        self, found: Operators, structure: Structure, cache: NativeCache, team: Team, *, tokens: int
    ) -> None:
        """`tokens` are those of the largest batch; a larger one makes more room."""
        self.num_blocks, self.block_size = cache.num_blocks, cache.block_size
        self.vocab_size: int = structure.model.head.n
        self._structure, self._cache = structure, cache
        self._found, self._team = found, team
        self._room, self._tokens = Room(), 0
        self._buffers: dict[str, Tensor] = {}
        self._make_room(tokens)
        self._logits = torch.empty(0, self.vocab_size)
        for index, heads in structure.heads.items():
            structure.layers[index].attention = cache.attention(index, heads)

    def logits(self, rows: Sequence[Row], keep: Sequence[int], *, last: Tensor | None) -> Logits:
        """They are valid until the next call."""
        flat = FlatBatch(rows)
        if len(flat.tokens) > self._tokens:
            self._make_room(len(flat.tokens))
        if len(keep) > len(self._logits):
            self._logits = torch.empty(len(keep), self.vocab_size)
        self._embed(flat.tokens)
        wanted = np.asarray(keep, np.int32)
        batch = flat.structure
        batch.wanted, batch.wanted_count = wanted.ctypes.data, len(wanted)
        batch.logits = self._logits.data_ptr()
        best = torch.empty(len(keep), dtype=torch.int64)
        batch.best = best.data_ptr()
        self._found.functions.r3mes_step(
            self._team.pointer,
            ctypes.byref(self._structure.model),
            ctypes.byref(batch),
            ctypes.byref(self._room),
        )
        return Logits(self._logits[: len(keep)], best)

    def _embed(self, tokens: NDArray[np.int32]) -> None:
        it = self._structure
        hidden = self._buffers["hidden"].view(-1, self._room.stride)
        rows = it.embedding.index_select(0, torch.from_numpy(tokens))
        place = hidden[: len(tokens), : it.model.hidden].copy_(rows)
        if it.embedding_scale != 1.0:
            place *= it.embedding_scale

    def clean(self, blocks: Sequence[int]) -> None:
        """Nothing to do: what lies past a sequence's last token is never used."""

    def _make_room(self, tokens: int) -> None:
        """Rows are a cache line longer than a power of two: lines of several rows then lie apart
        in the processor's cache."""
        it = self._structure
        stride = -(-it.widest // STRIPE) * STRIPE + STRIPE
        floats = {
            **dict.fromkeys(("hidden", "normed", "attended", "inner"), tokens * stride),
            "qkv": tokens * it.qkv,
            "scales": tokens * stride,
        }
        buffers = {name: torch.empty(count) for name, count in floats.items()}
        buffers["small"] = torch.empty(tokens * stride, dtype=torch.int8)
        places = {name: buffer.data_ptr() for name, buffer in buffers.items()}
        self._room = Room(stride=stride, **places)
        self._buffers, self._tokens = buffers, tokens


class FlatBatch:
    """Rows as the operators read them. Owns the arrays that the structure points to."""

    def __init__(self, rows: Sequence[Row]) -> None:
        tokens = np.fromiter((token for row in rows for token in row.tokens), np.int32)
        counts = np.fromiter((len(row.tokens) for row in rows), np.int32, len(rows))
        starts = np.fromiter((row.start for row in rows), np.int32, len(rows))
        self.tokens = tokens
        self.begins = np.zeros(len(rows) + 1, np.int32)
        np.cumsum(counts, out=self.begins[1:])
        places = np.arange(len(tokens), dtype=np.int32)
        self.positions = places + np.repeat(starts - self.begins[:-1], counts)
        widest = max(len(row.blocks) for row in rows)
        self.tables = np.zeros((len(rows), widest), np.int32)
        for line, row in zip(self.tables, rows, strict=True):
            line[: len(row.blocks)] = row.blocks
        self.structure = Batch(
            positions=self.positions.ctypes.data,
            begins=self.begins.ctypes.data,
            tables=self.tables.ctypes.data,
            count=len(tokens),
            sequences=len(rows),
            table_width=widest,
        )
