"""Which formula a module computes, found by trying it: a gated MLP, an RMSNorm; and which linears
are asked together.

Goes by what comes out, never by a name: what computes anything else, or takes more than one
argument, is not recognized. Knows nothing of the operators' memory.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, permutations, product
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r3mes.engine.native.library import GATE_GELU, GATE_SILU, STRIPE

# From where an epsilon rules to where a limit on large numbers would show.
SIZES = torch.logspace(-4, 1.5, 12)[:, None]
ROUNDING = 1e-5  # of a row's largest number
ENDINGS: dict[int, Callable[[Tensor], Tensor]] = {
    GATE_SILU: F.silu,
    GATE_GELU: partial(F.gelu, approximate="tanh"),
}


@dataclass(frozen=True, slots=True)
class Half:
    """A linear, or one half of a linear's outputs."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Gated:
    """`down` of act(gate) x up; the activation is told by the ending of a product."""

    gate: Half
    up: Half
    down: nn.Linear
    ending: int

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(ENDINGS[self.ending](self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Rms:
    """x / rms(x) x weight."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


Form = TypeVar("Form", Gated, Rms)


def gated(module: nn.Module) -> Gated | None:
    """Of two linears and a third, or of one that makes both gates and ups."""
    linears = [it for it in module.children() if type(it) is nn.Linear]
    weights = [it for linear in linears for it in linear.parameters()]
    if len(linears) not in (2, 3) or not _only(module, weights):
        return None
    forms = list(_gated_forms(linears))
    return _match(module, forms[0].gate.weight.shape[1], forms) if forms else None


def _gated_forms(linears: Sequence[nn.Linear]) -> Iterator[Gated]:
    for down in linears:
        firsts = [it for it in linears if it is not down]
        halves = [Half(it.weight, it.bias) for it in firsts]
        if len(firsts) == 1 and firsts[0].out_features == 2 * down.in_features:
            halves = _cut(firsts[0])
        for (gate, up), ending in product(permutations(halves, 2), ENDINGS):
            if _fit(gate, up, down):
                yield Gated(gate, up, down, ending)


def _fit(gate: Half, up: Half, down: nn.Linear) -> bool:
    """The operators want whole vectors of gates, and biases of both or of none."""
    inner = down.in_features
    alike = gate.weight.shape == up.weight.shape and (gate.bias is None) == (up.bias is None)
    return alike and len(gate.weight) == inner and inner % STRIPE == 0


def _cut(wide: nn.Linear) -> list[Half]:
    biases = [None, None] if wide.bias is None else wide.bias.chunk(2)
    return [Half(weight, bias) for weight, bias in zip(wide.weight.chunk(2), biases, strict=True)]


def rms_norm(module: nn.Module) -> Rms | None:
    """With its weights as they are, or with one added to them."""
    weights = list(module.parameters(recurse=False))
    if len(weights) != 1 or weights[0].dim() != 1 or not _only(module, weights):
        return None
    width = len(weights[0])
    if width % STRIPE or weights[0].dtype != torch.float32:
        return None
    small = [it for it in vars(module).values() if isinstance(it, float)]
    forms = [Rms(weights[0].detach() + more, it) for it, more in product(small, (0.0, 1.0))]
    return _match(module, width, forms)


def _only(module: nn.Module, known: Iterable[Tensor]) -> bool:
    """Has it no other numbers?"""
    ids = {id(it) for it in known}
    return all(id(it) in ids for it in (*module.parameters(), *module.buffers()))


@torch.inference_mode()
def _match(module: nn.Module, width: int, forms: Sequence[Form]) -> Form | None:
    """The form that answers as the module does."""
    if len(inspect.signature(module.forward).parameters) != 1:
        return None
    dice = torch.Generator().manual_seed(0)
    x = (torch.randn(len(SIZES), width, generator=dice) * SIZES)[None]
    try:
        answer = module(x)
    except Exception:  # noqa: BLE001 - whatever it wants, it is not what is looked for
        return None
    return next((form for form in forms if _alike(form(x), answer)), None)


def _alike(ours: Tensor, theirs: Any) -> bool:
    if not isinstance(theirs, Tensor) or ours.shape != theirs.shape:
        return False
    off = (ours - theirs).abs().amax(dim=-1)
    return bool((off <= ROUNDING * theirs.abs().amax(dim=-1)).all())


def asked_together(module: nn.Module, run: Callable[[], Any]) -> list[list[nn.Linear]]:
    """Linears of one parent that a run asks one after the other about the very same tensor."""
    parents = {id(it): id(one) for one in module.modules() for it in one.children()}
    calls: list[tuple[nn.Linear, Tensor]] = []  # held, so that no other tensor gets their ids
    hooks = [
        it.register_forward_pre_hook(lambda it, given: calls.append((it, given[0])))
        for it in module.modules()
        if type(it) is nn.Linear
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(id(it) for it, _ in calls)
    runs = groupby(calls, key=lambda call: (parents[id(call[0])], id(call[1])))
    groups = [[it for it, _ in calls] for _, calls in runs]
    return [it for it in groups if len(it) > 1 and all(times[id(one)] == 1 for one in it)]
