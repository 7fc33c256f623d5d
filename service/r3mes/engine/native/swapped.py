"""The operators inside stock modules: for every architecture that has no whole step.

Owns what takes the place of a linear module's forward, and the step that attends.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from r3mes.engine.attention import Heads
from r3mes.engine.native.cache import NativeCache
from r3mes.engine.native.library import INT8, PANEL, Arena, Operators, Room, Team
from r3mes.engine.native.packing import Packed, kind_of, pack, packable
from r3mes.engine.native.whole_step import FlatBatch
from r3mes.engine.runner import Row


class Linears:
    """Swaps the linears of a module and owns the room that their products share."""

    def __init__(self, found: Operators, team: Team, *, wish: str) -> None:
        self._found, self._team, self._wish = found, team, wish
        self._arena = Arena()
        self._packed: list[Packed] = []
        self._room = Room()
        self._buffers: dict[str, Tensor] = {}
        self.kinds: set[int] = set()

    def swap(self, module: nn.Module) -> None:
        """Every linear, which then has no plain weight any more; the rest of the module stays."""
        for one in [it for it in module.modules() if type(it) is nn.Linear]:
            kind = kind_of(self._wish, [one.weight])
            if packable(one.in_features, kind=kind):
                one.forward = self._forward(one, kind)  # type: ignore[method-assign]
                self.kinds.add(kind)

    def _forward(self, module: nn.Linear, kind: int) -> Any:
        packed = pack(self._arena, module.weight, kind=kind, bias=module.bias)
        self._packed.append(packed)  # what the structure points to has to stay
        module.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        n, k = module.out_features, module.in_features
        self._hold("scratch", self._team.threads * k * PANEL, torch.float32)
        run, team = self._found.functions.r3mes_linear, self._team.pointer
        weight, room = ctypes.byref(packed.weight), ctypes.byref(self._room)

        def forward(x: Tensor) -> Tensor:
            rows = x.reshape(-1, k).contiguous()
            if kind == INT8:
                self._hold("small", rows.numel(), torch.int8)
                self._hold("scales", rows.numel(), torch.float32)
            out = torch.empty(*x.shape[:-1], n)
            run(team, weight, room, rows.data_ptr(), len(rows), out.data_ptr())
            return out

        return forward

    def _hold(self, name: str, size: int, dtype: torch.dtype) -> None:
        """At least that large."""
        held = self._buffers.get(name)
        if held is None or held.numel() < size:
            self._buffers[name] = torch.empty(size, dtype=dtype)
            setattr(self._room, name, self._buffers[name].data_ptr())


class NativeStep:
    """Implements `attention.Step` over the cache of the operators."""

    def __init__(
        self, found: Operators, team: Team, cache: NativeCache, rows: Sequence[Row]
    ) -> None:
        self._found, self._team, self._cache = found, team, cache
        self._batch = FlatBatch(rows)

    def attend(self, layer: int, heads: Heads) -> Tensor:
        query, key, value = (
            it[0].transpose(0, 1).contiguous() for it in (heads.query, heads.key, heads.value)
        )
        tokens, count, _ = query.shape
        out = torch.empty(1, tokens, count, value.shape[-1])
        self._found.functions.r3mes_attend(
            self._team.pointer,
            ctypes.byref(self._cache.attention(layer, heads)),
            ctypes.byref(self._batch.structure),
            query.data_ptr(),
            key.data_ptr(),
            value.data_ptr(),
            out.data_ptr(),
        )
        return out
