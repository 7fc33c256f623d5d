"""Products with packed weights, on every instruction set of this machine, against torch.

Floats are compared with a product in float64, 8 bits with the documented formula computed slowly:
a scale for each output and group is max |w| / 127, a row of activations likewise, both rounded to
the nearest, ties to even.
"""

import ctypes

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from r3mes.engine.native.library import (
    BF16,
    F32,
    INT8,
    PANEL,
    STORE,
    STRIPE,
    Arena,
    Operators,
    Room,
    Team,
)
from r3mes.engine.native.packing import (
    Packed,
    group_of,
    in_turn,
    is_bfloat16,
    kind_of,
    pack,
    packable,
)

COUNTS = (1, 2, 3, 4, 5, 11, 12, 13, 24, 25, 36, 37, 64, 100)
SHAPES = ((1, 64), (33, 16), (70, 576), (96, 64))  # outputs and inputs
GROUPS = (  # outputs, inputs, and inputs that share a scale
    (1, 64, 64),
    (33, 64, 16),
    (70, 64, 32),
    (33, 16, 16),
    (70, 576, 576),
    (96, 576, 32),
)
ROUNDING = 1e-5  # of the largest result: what another order of additions may change
EIGHT_BITS = 0.02  # of the results' size: random rounding to 127 steps, of weights and activations
TINY = torch.finfo(torch.float32).tiny


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def multiply(found: Operators, team: Team, packed: Packed, x: Tensor) -> Tensor:
    """The product, after a look at what lies behind it: that is somebody else's memory."""
    count, k = x.shape
    small, scales = torch.empty(count * k, dtype=torch.int8), torch.empty(count * k)
    room = Room(small=small.data_ptr(), scales=scales.data_ptr())
    n = packed.weight.n
    out = torch.full((count * n + PANEL,), 7.0)
    found.functions.r3mes_linear(
        team.pointer,
        ctypes.byref(packed.weight),
        ctypes.byref(room),
        x.data_ptr(),
        count,
        out.data_ptr(),
        STORE,
    )
    assert [7.0] * PANEL == out[count * n :].tolist()
    return out[: count * n].view(count, n)


def difference(expected: Tensor, got: Tensor) -> float:
    """The largest, as a part of the largest expected number."""
    return float((got - expected).abs().max() / expected.abs().max())


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    held = None if bias is None else bias.double()
    return F.linear(x.double(), weight.double(), held)


def clear_of_ties(x: Tensor, group: int) -> Tensor:
    """Numbers whose rounding to 8 bits does not hang on the last bit of a product."""
    parts = x.unflatten(1, (-1, group))
    scale = parts.abs().amax(dim=-1, keepdim=True) / 127
    steps = parts.double() / scale
    near = ((steps - steps.floor()) - 0.5).abs() < 1e-3
    return torch.where(near, steps.round() * scale, parts).float().flatten(1)


def eight_bits(x: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Integers [rows, groups, group] and their scales [rows, groups], as documented."""
    parts = x.unflatten(1, (-1, group))
    high = parts.abs().amax(dim=-1)
    inverse = torch.where(high > 0, 127 / high.clamp(min=TINY), 0.0)
    return (parts * inverse[..., None]).round().double(), high / 127


def slowly(x: Tensor, weight: Tensor, bias: Tensor | None, group: int) -> Tensor:
    """The product in 8 bits, group by group, with exact sums of integers."""
    (small, scales), (weights, factors) = eight_bits(x, group), eight_bits(weight, group)
    sums = torch.einsum("rgi,ogi->rog", small, weights)
    out = (sums * factors.double()[None] * scales.double()[:, None]).sum(dim=-1)
    return out if bias is None else out + bias.double()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_a_product_of_floats_is_that_of_torch(
    found: Operators, team: Team, n: int, k: int, count: int
) -> None:
    x, weight = numbers(count, k), numbers(n, k, seed=1)
    for bias in (None, numbers(n, seed=2)):
        packed = pack(Arena(), weight, kind=F32, bias=bias)

        assert difference(exact(x, weight, bias), multiply(found, team, packed, x)) < ROUNDING


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_sixteen_bits_change_nothing_where_weights_fit_into_them(
    found: Operators, team: Team, n: int, k: int, count: int
) -> None:
    x, weight = numbers(count, k), numbers(n, k, seed=1).bfloat16()
    for bias in (None, numbers(n, seed=2)):
        wide, narrow = (pack(Arena(), weight, kind=kind, bias=bias) for kind in (F32, BF16))

        expected = multiply(found, team, wide, x)
        assert expected.tolist() == multiply(found, team, narrow, x).tolist()
        assert difference(exact(x, weight, bias), expected) < ROUNDING


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("n", "k", "group"), GROUPS)
def test_eight_bits_are_the_documented_formula(
    found: Operators, team: Team, n: int, k: int, group: int, count: int
) -> None:
    x = clear_of_ties(numbers(count, k), group)
    weight = clear_of_ties(numbers(n, k, seed=1), group)
    for bias in (None, numbers(n, seed=2)):
        packed = pack(Arena(), weight, kind=INT8, bias=bias, group=group)

        expected = slowly(x, weight, bias, group)
        assert difference(expected, multiply(found, team, packed, x)) < ROUNDING


@pytest.mark.parametrize(("n", "k", "group"), GROUPS)
def test_eight_bits_stay_near_the_floats(
    found: Operators, team: Team, n: int, k: int, group: int
) -> None:
    x, weight = numbers(100, k), numbers(n, k, seed=1)
    packed = pack(Arena(), weight, kind=INT8, group=group)

    expected = exact(x, weight, None)
    off = multiply(found, team, packed, x) - expected
    assert float(off.square().mean().sqrt() / expected.square().mean().sqrt()) < EIGHT_BITS


def test_activations_halfway_between_two_integers_become_the_even_one(
    found: Operators, team: Team
) -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5] + [0.0] * 8])
    packed = pack(Arena(), torch.eye(16), kind=INT8)

    # an identity is 127 / 127 on its diagonal, and the row's scale is one
    expected = [127, 0, 2, 2, 4, 0, -2, -2, *[0] * 8]
    assert expected == multiply(found, team, packed, x)[0].round(decimals=4).tolist()


def test_weights_halfway_between_two_integers_become_the_even_one(
    found: Operators, team: Team
) -> None:
    weight = torch.zeros(16, 16)
    weight[:, 0] = 127.0
    weight[:, 1] = torch.arange(16) - 7.5
    x = torch.zeros(1, 16)
    x[0, 1] = 1.0

    product = multiply(found, team, pack(Arena(), weight, kind=INT8), x)

    expected = [-8, -6, -6, -4, -4, -2, -2, 0, 0, 2, 2, 4, 4, 6, 6, 8]
    assert expected == product[0].round(decimals=4).tolist()


@pytest.mark.parametrize("kind", [F32, BF16, INT8])
def test_zeros_yield_the_bias(found: Operators, team: Team, kind: int) -> None:
    bias = numbers(33)
    rows, weight = numbers(3, 64), numbers(33, 64)

    nothing_in = pack(Arena(), weight, kind=kind, bias=bias)
    nothing_kept = pack(Arena(), torch.zeros(33, 64), kind=kind, bias=bias)

    assert [bias.tolist()] * 3 == multiply(found, team, nothing_in, torch.zeros(3, 64)).tolist()
    assert [bias.tolist()] * 3 == multiply(found, team, nothing_kept, rows).tolist()


@pytest.mark.parametrize("kind", [F32, BF16, INT8])
def test_neighbours_do_not_change_the_last_bit_of_a_row(
    found: Operators, team: Team, kind: int
) -> None:
    x, packed = numbers(100, 64), pack(Arena(), numbers(70, 64, seed=1), kind=kind)
    alone = [multiply(found, team, packed, row[None])[0].tolist() for row in x]

    for count in COUNTS:
        assert alone[:count] == multiply(found, team, packed, x[:count]).tolist()


@pytest.mark.parametrize("kind", [F32, BF16, INT8])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("count", [2, 5, 37])
def test_a_row_that_is_not_finite_spoils_itself_alone(
    found: Operators, team: Team, kind: int, bad: float, count: int
) -> None:
    x, packed = numbers(count, 64), pack(Arena(), numbers(33, 64, seed=1), kind=kind)
    expected = multiply(found, team, packed, x)
    x[1, 17] = bad

    got = multiply(found, team, packed, x)

    others = [i for i in range(count) if i != 1]
    assert expected[others].tolist() == got[others].tolist()
    assert not got[1].isfinite().any()


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", [F32, BF16, INT8])
def test_the_number_of_threads_changes_nothing(found: Operators, threads: int, kind: int) -> None:
    x, packed = numbers(40, 64), pack(Arena(), numbers(200, 64, seed=1), kind=kind)
    expected = multiply(found, Team(found, 1), packed, x)

    assert expected.tolist() == multiply(found, Team(found, threads), packed, x).tolist()


def test_sixteen_bits_are_the_nearest_and_of_two_the_even_one(found: Operators, team: Team) -> None:
    base = torch.tensor([1.0, 1.0078125, -1.0, 3e38, 1e-39, 0.0]).view(torch.int32)
    ends = (0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
    weight = torch.stack([base | end for end in ends]).view(torch.float32).reshape(-1, 1)
    packed = pack(Arena(), weight, kind=BF16)

    expected = weight.bfloat16().float()[:, 0].tolist()
    assert expected == multiply(found, team, packed, torch.ones(1, 1))[0].tolist()


def test_sixteen_rows_of_gates_and_of_ups_take_turns() -> None:
    gate, up = torch.arange(32), 100 + torch.arange(32)

    joined = in_turn(gate, up)

    expected = [*range(16), *range(100, 116), *range(16, 32), *range(116, 132)]
    assert expected == joined.tolist()
    assert expected == in_turn(gate[:, None], up[:, None])[:, 0].tolist()


def test_only_what_sixteen_bits_hold_exactly_counts_as_bfloat16() -> None:
    narrow, wide = numbers(4, 4).bfloat16(), numbers(4, 4)

    assert is_bfloat16(narrow)
    assert is_bfloat16(narrow.float())
    assert is_bfloat16(narrow.float().T)
    assert not is_bfloat16(wide)
    assert not is_bfloat16(wide.half())


@pytest.mark.parametrize(
    ("expected", "wish"), [(F32, "float32"), (BF16, "bfloat16"), (INT8, "int8")]
)
def test_a_wish_for_a_kind_is_honoured_whatever_the_weights(expected: int, wish: str) -> None:
    assert expected == kind_of(wish, [numbers(2, 2)])


def test_by_default_weights_take_sixteen_bits_where_all_parts_fit() -> None:
    narrow, wide = numbers(2, 2).bfloat16().float(), numbers(2, 2)

    assert BF16 == kind_of("auto", [narrow, narrow])
    assert F32 == kind_of("auto", [narrow, wide])


@pytest.mark.parametrize(
    ("expected", "k"),
    [(16, 16), (64, 64), (160, 160), (16, 176), (144, 576), (128, 1536), (128, 8192), (33, 33)],
)
def test_inputs_share_a_scale_in_the_longest_stretches_that_are_short_enough(
    expected: int, k: int
) -> None:
    assert expected == group_of(k)


@pytest.mark.parametrize("k", [64, 576])
def test_by_default_eight_bits_have_a_scale_for_each_such_stretch(
    found: Operators, team: Team, k: int
) -> None:
    x, weight = numbers(5, k), numbers(70, k, seed=1)
    plain, told = (pack(Arena(), weight, kind=INT8, group=group) for group in (None, group_of(k)))

    expected = multiply(found, team, told, x)
    assert expected.tolist() == multiply(found, team, plain, x).tolist()


def test_eight_bits_want_inputs_in_whole_vectors() -> None:
    assert packable(33, kind=F32)
    assert packable(33, kind=BF16)
    assert packable(2 * STRIPE, kind=INT8)
    assert not packable(2 * STRIPE + 1, kind=INT8)
