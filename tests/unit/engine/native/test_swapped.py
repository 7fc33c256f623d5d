"""Modules whose work the operators do, alone and several at a time, against what they did."""

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from r3mes.engine.native.library import BF16, F32, INT8, Operators, Team
from r3mes.engine.native.swapped import Swaps

ROUNDING = 1e-5  # of the largest result: what another order of additions may change
EIGHT_BITS = 0.06  # of the largest result: three products, weights and activations in 127 steps


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def difference(expected: Tensor, got: Tensor) -> float:
    """The largest, as a part of the largest expected number."""
    return float((got - expected).abs().max() / expected.abs().max())


class Two(nn.Module):
    """Linears of different widths, with and without a bias, and one that is not swapped."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 33), nn.Linear(33, 70, bias=False)
        self.norm = nn.LayerNorm(70)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.first(x)))  # type: ignore[no-any-return]


@torch.inference_mode()
def test_swapped_linears_compute_what_the_module_did(found: Operators, team: Team) -> None:
    module, x = Two(), numbers(2, 7, 64)
    module.first.weight.copy_(module.first.weight.bfloat16())
    expected = module(x)
    swaps = Swaps(found, team, wish="auto")

    swaps.swap(module)

    assert {F32, BF16} == swaps.kinds
    assert difference(expected, module(x)) < ROUNDING
    assert 0 == module.first.weight.numel() == module.second.weight.numel()
    assert 70 == module.norm.weight.numel()


@torch.inference_mode()
def test_a_linear_whose_inputs_do_not_fit_eight_bits_stays(found: Operators, team: Team) -> None:
    module = Two()
    swaps = Swaps(found, team, wish="int8")

    swaps.swap(module)

    assert {INT8} == swaps.kinds
    assert (0, 33 * 70) == (module.first.weight.numel(), module.second.weight.numel())
    assert (3, 70) == module(numbers(3, 64)).shape


@torch.inference_mode()
def test_swapped_linears_take_more_rows_than_they_had_before(found: Operators, team: Team) -> None:
    module = nn.Sequential(nn.Linear(64, 32))
    expected = [module(numbers(count, 64)) for count in (1, 50, 3, 200)]
    Swaps(found, team, wish="int8").swap(module)

    for answer in expected:
        assert difference(answer, module(numbers(len(answer), 64))) < EIGHT_BITS


class Layer(nn.Module):
    """Three linears of one input, a gated MLP and norms of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(64, 70), nn.Linear(64, 33, bias=False), nn.Linear(64, 33)
        self.mlp = LlamaMLP(LlamaConfig(hidden_size=64, intermediate_size=96, mlp_bias=True))
        self.first, self.second = LlamaRMSNorm(64), Gemma3RMSNorm(64)
        for norm in (self.first, self.second):
            norm.weight.data.normal_()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp(self.first(x))
        x = self.second(x)
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


@torch.inference_mode()
@pytest.mark.parametrize(("wish", "bound"), [("float32", ROUNDING), ("int8", EIGHT_BITS)])
def test_what_several_modules_compute_in_one_call_is_the_same(
    found: Operators, team: Team, wish: str, bound: float
) -> None:
    module = Layer()
    inputs = [numbers(1, count, 64, seed=count) for count in (1, 7, 600, 3)]
    expected = [module(x) for x in inputs]

    Swaps(found, team, wish=wish).swap(module, [[module.q, module.k, module.v]])

    for x, answer in zip(inputs, expected, strict=True):
        assert difference(answer, module(x)) < bound
    emptied = (module.q, module.k, module.v, module.mlp.gate_proj, module.mlp.down_proj)
    assert {0} == {it.weight.numel() for it in emptied}


@torch.inference_mode()
def test_a_linear_that_is_asked_about_another_input_computes_it(
    found: Operators, team: Team
) -> None:
    module, one, other = Layer(), numbers(2, 64), numbers(5, 64, seed=1)
    expected = {(it, x): getattr(module, it)(x) for it in "qkv" for x in (one, other)}
    Swaps(found, team, wish="float32").swap(module, [[module.q, module.k, module.v]])

    for name, x in (("q", one), ("k", other), ("v", one), ("q", one), ("q", one), ("k", one)):
        assert difference(expected[name, x], getattr(module, name)(x)) < ROUNDING
