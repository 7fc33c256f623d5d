"""The operators inside stock modules: for every architecture that has no whole step.

Owns what takes the place of a module's forward, and the step that attends. A call of Python costs
as much as a small product, and so does waking the threads: what can be one call is one.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from r3mes.engine.attention import Heads
from r3mes.engine.forward import Logits
from r3mes.engine.native.cache import NativeCache
from r3mes.engine.native.formulas import Gated, Rms, gated, rms_norm
from r3mes.engine.native.library import INT8, PANEL, Arena, Norm, Operators, Product, Room, Team
from r3mes.engine.native.packing import Packed, in_turn, kind_of, pack, packable
from r3mes.engine.native.whole_step import FlatBatch
from r3mes.engine.runner import Row

Call = Callable[[Tensor], Tensor]


class Swaps:
    """Swaps the modules whose formula the operators know, and owns the room that they share."""

    def __init__(self, found: Operators, team: Team, *, wish: str) -> None:
        self._run, self._team, self._wish = found.functions, team, wish
        self._arena = Arena(found)
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

    def _kind(self, weights: list[Tensor]) -> int:
        return kind_of(self._wish, weights)

    def logits(self, lines: Tensor) -> Logits:
        """As `Logits.of`."""
        lines = lines.contiguous()
        best = torch.empty(len(lines), dtype=torch.int64)
        self._run.r3mes_best(self._team.pointer, lines.data_ptr(), *lines.shape, best.data_ptr())
        return Logits(lines, best)

    def _swap_gated(self, module: nn.Module, it: Gated) -> None:
        halves = (it.gate, it.up)
        weights = [[half.weight for half in halves], [it.down.weight]]
        k, inner, n = weights[0][0].shape[1], it.down.in_features, it.down.out_features
        if not (self._fits(k) and self._fits(inner)):
            return
        kinds = [self._kind(one) for one in weights]
        biases = [half.bias for half in halves if half.bias is not None]
        wide = self._pack(in_turn(*weights[0]), kinds[0], in_turn(*biases) if biases else None)
        down = self._pack(it.down.weight, kinds[1], it.down.bias)
        self._hold("scratch", self._team.threads * max(k, inner) * PANEL, torch.float32)
        run, team, room = self._run.r3mes_gated, self._team.pointer, ctypes.byref(self._room)
        pointers = ctypes.byref(wide.weight), ctypes.byref(down.weight)

        def forward(x: Tensor) -> Tensor:
            rows = x.contiguous()
            count = rows.numel() // k
            self._hold("inner", count * inner, torch.float32)
            self._hold_small(count * max(k, inner), kinds)
            out = torch.empty(*x.shape[:-1], n)
            run(team, *pointers, it.ending, room, rows.data_ptr(), count, out.data_ptr())
            return out

        _replace(module, forward)
        for linear in module.children():
            _empty(linear)

    def _normalize(self, it: Rms) -> Call:
        weight, width = it.weight.contiguous(), len(it.weight)
        structure = Norm(weight.data_ptr(), it.epsilon)
        self._kept.append(weight)
        run, team, norm = self._run.r3mes_normalize, self._team.pointer, ctypes.byref(structure)

        def forward(x: Tensor) -> Tensor:
            rows = x.contiguous()
            out = torch.empty_like(rows)
            run(team, norm, rows.data_ptr(), rows.numel() // width, width, out.data_ptr())
            return out

        return forward

    def _swap_linears(self, group: Sequence[nn.Linear]) -> None:
        if not group:
            return
        kinds = [self._kind([it.weight]) for it in group]
        k, number = group[0].in_features, len(group)
        packed = [
            self._pack(it.weight, kind, it.bias) for it, kind in zip(group, kinds, strict=True)
        ]
        products = (Product * number)(*(Product(ctypes.pointer(it.weight)) for it in packed))
        self._hold("scratch", self._team.threads * k * PANEL, torch.float32)
        run, team, room = self._run.r3mes_linears, self._team.pointer, ctypes.byref(self._room)
        widths = [it.out_features for it in group]

        def compute(x: Tensor) -> list[Tensor]:
            rows = x.contiguous()
            count = rows.numel() // k
            self._hold_small(count * k, kinds)
            outs = [torch.empty(*x.shape[:-1], n) for n in widths]
            for place, out in enumerate(outs):
                products[place].y = out.data_ptr()
            run(team, products, number, room, rows.data_ptr(), count)
            return outs

        share = Shared(compute, number)
        for place, it in enumerate(group):
            _replace(it, share.forward(place))
            _empty(it)

    def _pack(self, matrix: Tensor, kind: int, bias: Tensor | None) -> Packed:
        packed = pack(self._arena, matrix, kind=kind, bias=bias)
        self._kept.append(packed)
        self.kinds.add(kind)
        return packed

    def _hold_small(self, numbers: int, kinds: list[int]) -> None:
        if INT8 in kinds:
            self._hold("small", numbers, torch.int8)
            self._hold("scales", numbers, torch.float32)

    def _hold(self, name: str, size: int, dtype: torch.dtype) -> None:
        """At least that large."""
        held = self._buffers.get(name)
        if held is None or held.numel() < size:
            self._buffers[name] = torch.empty(size, dtype=dtype)
            setattr(self._room, name, self._buffers[name].data_ptr())


class Shared:
    """Results that are computed at once for all who will ask about the same tensor."""

    def __init__(self, compute: Callable[[Tensor], list[Tensor]], number: int) -> None:
        self._compute = compute
        self._asked: Tensor | None = None
        self._left: dict[int, Tensor] = {}

    def forward(self, place: int) -> Call:
        def forward(x: Tensor) -> Tensor:
            if x is not self._asked or place not in self._left:
                self._left = dict(enumerate(self._compute(x)))
                self._asked = x
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
