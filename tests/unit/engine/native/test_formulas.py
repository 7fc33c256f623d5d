"""Modules are known by what they compute, and what computes anything else is left alone."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from r3mes.engine.native.formulas import asked_together, gated, rms_norm
from r3mes.engine.native.library import GATE_GELU, GATE_SILU
from support.models import COMMON, RECIPES

Act = Callable[[Tensor], Tensor]
WIDTH, INNER = 64, 96


def tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


class Mlp(nn.Module):
    """As most models have it, under names that tell nothing."""

    def __init__(self, act: Act = F.silu, *, bias: bool = False, inner: int = INNER) -> None:
        super().__init__()
        self.a, self.b = (nn.Linear(WIDTH, inner, bias=bias) for _ in range(2))
        self.c, self.act = nn.Linear(inner, WIDTH, bias=bias), act

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.act(self.a(x)) * self.b(x))  # type: ignore[no-any-return]


class UpFirst(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.act(self.b(x)) * self.a(x))  # type: ignore[no-any-return]


class Joined(nn.Module):
    """Gates and ups by one linear."""

    def __init__(self, act: Act = F.silu, *, bias: bool = False) -> None:
        super().__init__()
        self.down, self.act = nn.Linear(INNER, WIDTH, bias=bias), act
        self.both = nn.Linear(WIDTH, 2 * INNER, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, dim=-1)
        return self.down(up * self.act(gate))  # type: ignore[no-any-return]


class InTurn(Joined):
    def forward(self, x: Tensor) -> Tensor:
        both = self.both(x)
        return self.down(both[..., 1::2] * self.act(both[..., ::2]))  # type: ignore[no-any-return]


class Limited(Mlp):
    """What is large is cut off."""

    def forward(self, x: Tensor) -> Tensor:
        gate = self.a(x).clamp(max=7.0)
        return self.c(self.act(gate) * self.b(x))  # type: ignore[no-any-return]


class Scaled(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Residual(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Routed(Mlp):
    def forward(self, x: Tensor, share: Tensor | None = None) -> Tensor:
        out = super().forward(x)
        return out if share is None else out * share


class Pair(Mlp):
    def forward(self, x: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return super().forward(x), None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [Mlp, UpFirst, Joined])
@pytest.mark.parametrize(("ending", "act"), [(GATE_SILU, F.silu), (GATE_GELU, tanh_gelu)])
def test_a_gated_mlp_is_known_whatever_its_names(
    kind: type[Mlp], act: Act, ending: int, bias: bool
) -> None:
    module, x = kind(act, bias=bias), torch.randn(3, WIDTH)

    form = gated(module)

    assert form is not None
    assert ending == form.ending
    torch.testing.assert_close(module(x), form(x))


@pytest.mark.parametrize(
    "module",
    [
        Mlp(F.gelu),
        Mlp(F.relu),
        Mlp(torch.sigmoid),
        Mlp(inner=40),  # no whole vectors
        InTurn(),
        Limited(),
        Scaled(),
        Residual(),
        Routed(),
        Pair(),
        nn.Sequential(nn.Linear(WIDTH, INNER), nn.SiLU(), nn.Linear(INNER, WIDTH)),
        nn.Linear(WIDTH, WIDTH),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_only_looks_like_a_gated_mlp_is_left_alone(module: nn.Module) -> None:
    assert gated(module) is None


class Norm(nn.Module):
    """RMSNorm, with something to do to what comes of it."""

    def __init__(self, then: Act = lambda x: x, *, width: int = WIDTH) -> None:
        super().__init__()
        self.weight, self.eps, self.then = nn.Parameter(torch.randn(width)), 1e-6, then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(F.rms_norm(x, self.weight.shape, self.weight, self.eps))


class EpsilonOutside(Norm):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True).sqrt() + self.eps) * self.weight


class OtherEpsilon(Norm):
    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, 2 * self.eps)


class BesideGate(Norm):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        out = super().forward(x)
        return out if gate is None else out * F.silu(gate)


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
@pytest.mark.parametrize("eps", [1e-6, 1e-5])
def test_an_rms_norm_is_known_with_one_added_to_its_weights_or_not(
    kind: type[nn.Module], eps: float
) -> None:
    module, x = kind(WIDTH, eps=eps), torch.randn(3, WIDTH)
    module.weight.data.normal_()

    form = rms_norm(module)

    assert form is not None
    assert eps == form.epsilon
    torch.testing.assert_close(module(x), form(x))


@pytest.mark.parametrize(
    "module",
    [
        Norm(lambda x: 0.5 * x),
        Norm(torch.tanh),
        Norm(width=40),
        EpsilonOutside(),
        OtherEpsilon(),
        BesideGate(),
        nn.LayerNorm(WIDTH),
        nn.LayerNorm(WIDTH, bias=False),
        nn.PReLU(WIDTH),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_only_looks_like_an_rms_norm_is_left_alone(module: nn.Module) -> None:
    assert rms_norm(module) is None


class Three(nn.Module):
    """Two linears of one input and a third of another, in the order that is asked for."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        inputs = {"a": x, "b": x, "c": x + 1}
        return sum(getattr(self, it)(inputs[it]) for it in self.order)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("expected", "order"),
    [("ab", "abc"), ("ba", "cba"), ("", "acb"), ("", "abca"), ("", "ac")],
)
def test_linears_are_asked_together_if_nothing_else_is_between(expected: str, order: str) -> None:
    module = nn.Sequential(Three(order))

    groups = asked_together(module, lambda: module(torch.randn(2, WIDTH)))

    names = {id(it): name for name, it in module[0].named_children()}
    assert ([expected] if expected else []) == ["".join(names[id(it)] for it in g) for g in groups]
    assert not module[0].a._forward_pre_hooks


def test_linears_of_two_modules_are_not_asked_together() -> None:
    module = nn.ModuleList([nn.Sequential(nn.Linear(WIDTH, 8)) for _ in range(2)])
    x = torch.randn(2, WIDTH)

    assert [] == asked_together(module, lambda: [it(x) for it in module])


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ((4, 9), "phi3"),  # gates and ups by one linear
        ((4, 25), "gemma3_text"),  # one is added to the weights of norms
        ((0, 9), "gpt_oss"),  # experts
        ((4, 0), "cohere2"),  # its norms take away the mean
        ((0, 0), "gpt_neox"),
    ],
)
def test_what_is_known_of_whole_models(expected: tuple[int, int], kind: str) -> None:
    config = AutoConfig.for_model(kind, **{**COMMON, **RECIPES[kind]})
    parts = list(AutoModelForCausalLM.from_config(config, dtype=torch.float32).modules())

    found = [sum(known(it) is not None for it in parts) for known in (gated, rms_norm)]
    assert expected == tuple(found)
