"""Packed weights compute what the plain ones do, and are made only where memory allows."""

from collections.abc import Callable
from itertools import chain

import pytest
import torch
from torch import nn

from r3mes.engine.linears import REPEATS, is_better, pack_linears, packed


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 96), nn.Linear(96, 64, bias=False), nn.LayerNorm(64))


@pytest.mark.parametrize("rows", [1, 2, 7, 16, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_the_packed_product_is_the_plain_one(rows: int, bias: bool) -> None:
    plain = nn.Linear(48, 96, bias=bias)
    batch = torch.randn(1, rows, 48, generator=torch.Generator().manual_seed(rows))

    with torch.inference_mode():
        torch.testing.assert_close(plain(batch), packed(plain)(batch), rtol=1e-5, atol=1e-6)


def stopwatch(*laps: float) -> Callable[[], float]:
    """A clock by which each of the first measured products takes the first lap, and so on."""
    seconds = chain.from_iterable([lap] * REPEATS for lap in laps)
    return chain.from_iterable((0.0, lap) for lap in seconds).__next__


def test_linear_modules_are_packed_where_that_is_faster() -> None:
    assert 2 == pack_linears(model(), free=1 << 30, clock=stopwatch(1.0, 2.0))


def test_nothing_is_packed_where_it_is_not_faster() -> None:
    assert 0 == pack_linears(model(), free=1 << 30, clock=stopwatch(2.0, 1.0))


def test_a_product_that_computes_something_else_is_not_better_however_fast() -> None:
    plain = nn.Linear(48, 96)
    rows = torch.ones(2, 48)

    assert is_better(plain, plain, rows, stopwatch(1.0, 2.0))
    assert not is_better(lambda rows: plain(rows) + 0.01, plain, rows, stopwatch(1.0, 2.0))


def test_nothing_is_packed_where_memory_is_short() -> None:
    size = (48 * 96 + 96 * 64) * 4

    assert 0 == pack_linears(model(), free=4 * size - 1)


def test_only_float32_is_packed() -> None:
    assert 0 == pack_linears(model().bfloat16(), free=1 << 30)
