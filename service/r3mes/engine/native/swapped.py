"""The operators inside stock modules: for every architecture that has no whole step.

Owns what takes the place of a module's forward, and the step that attends. A call of Python costs
as much as a small product, and so does waking the threads: what can be one call is one.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from r3mes.engine.attention import Heads
from r3mes.engine.native.cache import NativeCache
from r3mes.engine.native.formulas import Gated, Rms, gated, rms_norm
from r3mes.engine.native.library import INT8, STORE, Arena, Norm, Operators, Room, Team
from r3mes.engine.native.packing import in_turn, kind_of, pack, packable
from r3mes.engine.native.whole_step import FlatBatch
from r3mes.engine.runner import Row

Call = Callable[[Tensor], Tensor]


class Swaps:
    """Swaps the modules whose formula the operators know, and owns the room that they share."""

    def __init__(self, found: Operators, team: Team, *, wish: str) -> None:
        self._run, self._team, self._wish = found.functions, team, wish
        self._arena = Arena()
        self._kept: list[object] = []  # what structures point to
        self._room = Room()
        self._buffers: dict[str, Tensor] = {}
        self.kinds: set[int] = set()

    def swap(self, module: nn.Module, together: Iterable[Sequence[nn.Linear]] = ()) -> None:
        """Gated MLPs, RMSNorms and linears, which have no plain weights any more; the rest of the
        module stays. Linears that are asked `together` are computed so."""
        for one in list(module.modules()):
            if form := gated(one):
                self._swap_gated(one, form)
            elif norm := rms_norm(one):
                _replace(one, self._normalize(norm))
        for group in [*together, *([it] for it in module.modules() if type(it) is nn.Linear)]:
            self._swap_linears(
                [it for it in group if it.weight.numel() and self._fits(it.in_features)]
            )

    def _fits(self, k: int) -> bool:
        return self._wish != "int8" or packable(k, kind=INT8)

    def _swap_gated(self, module: nn.Module, it: Gated) -> None:
        gate, up, down = it.gate, it.up, it.down
        if not (self._fits(gate.weight.shape[1]) and self._fits(down.in_features)):
            return
        bias = None if gate.bias is None or up.bias is None else in_turn(gate.bias, up.bias)
        widen = self._product(in_turn(gate.weight, up.weight), bias, ending=it.ending)
        narrow = self._product(down.weight, down.bias)
        _replace(module, lambda x: narrow(widen(x)))
        for linear in module.children():
            _empty(linear)

    def _normalize(self, it: Rms) -> Call:
        weight = it.weight.contiguous()
        structure = Norm(weight.data_ptr(), it.epsilon, len(weight))
        run, team, norm = self._run.r3mes_normalize, self._team.pointer, ctypes.byref(structure)

        def forward(x: Tensor) -> Tensor:
            rows = x.contiguous()
            out = torch.empty_like(rows)
            run(team, norm, rows.data_ptr(), rows.numel() // len(weight), out.data_ptr())
            return out

        return forward

    def _swap_linears(self, group: Sequence[nn.Linear]) -> None:
        if not group:
            return
        one = group[0]
        alone = len(group) == 1
        calls = [self._product(one.weight, one.bias)] if alone else self._joined(group)
        for it, call in zip(group, calls, strict=True):
            _replace(it, call)
            _empty(it)

    def _joined(self, group: Sequence[nn.Linear]) -> list[Call]:
        """As one whose outputs are those of all, one after the other."""
        biases: list[Tensor] = [
            it.weight.new_zeros(it.out_features) if it.bias is None else it.bias for it in group
        ]
        compute = self._product(torch.cat([it.weight.data for it in group]), torch.cat(biases))
        share = Shared(compute, [it.out_features for it in group])
        return [share.forward(place) for place in range(len(group))]

    def _product(self, weight: Tensor, bias: Tensor | None, *, ending: int = STORE) -> Call:
        kind, (n, k) = kind_of(self._wish, [weight]), weight.shape
        packed = pack(self._arena, weight, kind=kind, bias=bias)
        self._kept.append(packed)
        self.kinds.add(kind)
        width = n if ending == STORE else n // 2
        run, team = self._run.r3mes_linear, self._team.pointer
        structure, room = ctypes.byref(packed.weight), ctypes.byref(self._room)

        def compute(x: Tensor) -> Tensor:
            rows = x.contiguous()
            count = rows.numel() // k
            if kind == INT8:
                self._hold("small", rows.numel(), torch.int8)
                self._hold("scales", rows.numel(), torch.float32)
            out = torch.empty(*x.shape[:-1], width)
            run(team, structure, room, rows.data_ptr(), count, out.data_ptr(), ending)
            return out

        return compute

    def _hold(self, name: str, size: int, dtype: torch.dtype) -> None:
        """At least that large."""
        held = self._buffers.get(name)
        if held is None or held.numel() < size:
            self._buffers[name] = torch.empty(size, dtype=dtype)
            setattr(self._room, name, self._buffers[name].data_ptr())


class Shared:
    """The outputs of one product for several who ask about the same tensor, [..., widths]."""

    def __init__(self, compute: Call, widths: Sequence[int]) -> None:
        self._compute, self._widths = compute, list(widths)
        self._asked: Tensor | None = None
        self._left: dict[int, Tensor] = {}

    def forward(self, place: int) -> Call:
        def forward(x: Tensor) -> Tensor:
            if x is not self._asked or place not in self._left:
                outs = self._compute(x).split_with_sizes(self._widths, dim=-1)
                self._asked, self._left = x, dict(enumerate(outs))
            out = self._left.pop(place)
            if not self._left:
                self._asked = None
            return out

        return forward


def _replace(module: nn.Module, forward: Call) -> None:
    module.forward = forward


def _empty(module: nn.Module) -> None:
    if type(module) is nn.Linear:
        module.weight = nn.Parameter(torch.empty(0), requires_grad=False)


class NativeStep:
    """Implements `attention.Step` over the cache of the operators."""

    def __init__(
        self, found: Operators, team: Team, cache: NativeCache, rows: Sequence[Row]
    ) -> None:
        self._found, self._team, self._cache = found, team, cache
        self._batch = FlatBatch(rows)

    def attend(self, layer: int, heads: Heads) -> Tensor:
        parts = (heads.query, heads.key, heads.value)
        query, key, value = (it.transpose(1, 2).contiguous() for it in parts)
        out = torch.empty(*query.shape[:-1], value.shape[-1])
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
