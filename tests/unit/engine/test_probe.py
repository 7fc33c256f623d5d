"""What the survey of a model's attention refuses, and how the comparison judges."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from r3mes.engine.attention import paged_attention
from r3mes.engine.probe import refuse_difference, survey
from r3mes.errors import StartError


class OneAttention(torch.nn.Module):
    """A model of two layers that do nothing but ask for attention, with keywords of the test's."""

    device = torch.device("cpu")

    def __init__(self, *, numbers: tuple[int | None, ...] = (0, 1), **keywords: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(sliding_window=None)
        self.numbers, self.keywords = numbers, keywords

    def forward(self, input_ids: torch.Tensor, r3mes_step: Any = None, **_: Any) -> None:
        heads = torch.zeros(1, 2, input_ids.shape[1], 4)
        for number in self.numbers:
            layer = torch.nn.Module()
            if number is not None:
                layer.layer_idx = number
            keywords = {"r3mes_step": r3mes_step, **self.keywords}
            paged_attention(layer, heads, heads, heads, None, scaling=0.5, **keywords)


def test_what_each_layer_keeps_is_noted() -> None:
    shapes = survey(OneAttention()).shapes

    assert [0, 1] == list(shapes)
    assert 2 * (4 + 4) * 4 == shapes[1].token_bytes


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (OneAttention(position_bias=torch.zeros(1)), "uses `position_bias`, which is not"),
        (OneAttention(is_causal=False), "attends to later tokens too"),
        (OneAttention(r3mes_step=None), "does not hand keyword arguments to its attention"),
        (OneAttention(numbers=(None,)), "does not number its attention layers"),
        (OneAttention(numbers=(0, 0)), "several attention layers share one number"),
        (OneAttention(numbers=()), "does not go through the registry"),
        (OneAttention(sliding_window=8), "declares a window of None but attends with 8"),
    ],
)
def test_attention_that_we_do_not_compute_is_refused(model: OneAttention, expected: str) -> None:
    with pytest.raises(StartError, match=expected):
        survey(model)


def test_keywords_that_change_nothing_are_taken() -> None:
    model = OneAttention(dropout=0.0, position_ids=torch.zeros(1), indices=None)

    assert 2 == len(survey(model).shapes)


def test_a_declared_window_must_reach_the_attention() -> None:
    model = OneAttention()
    model.config.sliding_window = 16

    with pytest.raises(StartError, match="declares a window of 16 but attends with None"):
        survey(model)


def test_a_difference_within_rounding_is_accepted_and_a_larger_one_is_not() -> None:
    stock = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(10, 50, generator=torch.Generator().manual_seed(1))

    refuse_difference(stock + 1e-5 * noise, stock, "exact")
    refuse_difference(stock + 1e-2 * noise, stock, "16 bits")
    with pytest.raises(StartError, match="100% of positions differ"):
        refuse_difference(stock + 1e-2 * noise, stock, "exact")
    with pytest.raises(StartError, match="100% of positions differ"):
        refuse_difference(stock + 0.5 * noise, stock, "16 bits")


def test_one_wrong_position_is_enough_where_arithmetic_is_exact() -> None:
    stock = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    ours = stock.clone()
    ours[9] = float("nan")

    with pytest.raises(StartError, match="10% of positions differ"):
        refuse_difference(ours, stock, "exact")
    refuse_difference(ours, stock, "16 bits")


def test_a_stock_model_whose_output_is_not_finite_is_refused() -> None:
    stock = torch.full((2, 5), float("inf"))

    with pytest.raises(StartError, match="the model's output is not finite"):
        refuse_difference(stock, stock, "exact")
