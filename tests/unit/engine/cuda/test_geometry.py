"""Sizes are from small sets, fill the device and fit into it."""

import pytest

from r3mes.engine.cuda.geometry import (
    Shape,
    bucket,
    buckets,
    keys_at_once,
    most_tiles,
    padded,
    power_of_two,
    split_steps,
    splits,
    tile_tokens,
    with_tiles,
)


def shape(*, group: int = 4, pad: int = 128, itemsize: int = 2) -> Shape:
    return Shape(8, 8, group, pad, pad, pad, pad, 16, 0, False, False, 64, itemsize)


@pytest.mark.parametrize(
    ("expected", "most"),
    [
        ([1], 1),
        ([1, 2, 3], 3),
        ([1, 2, 4], 4),
        ([1, 2, 4, 6], 6),
        ([1, 2, 4, 8], 8),
        ([1, 2, 4, 8, 16, 24, 30], 30),
    ],
)
def test_batches_have_few_sizes_and_the_largest_is_one(expected: list[int], most: int) -> None:
    assert expected == buckets(most)


def test_a_batch_takes_the_first_size_that_holds_it() -> None:
    sizes = buckets(30)

    assert [1, 2, 4, 4, 8, 24, 30] == [bucket(n, sizes) for n in (1, 2, 3, 4, 5, 17, 25)]


def test_widths_are_powers_of_two_that_tensor_cores_take() -> None:
    assert [16, 16, 32, 128, 128] == [padded(width) for width in (8, 16, 24, 80, 128)]
    assert [1, 2, 4, 8] == [power_of_two(n) for n in (1, 2, 3, 8)]


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        (32, [shape()]),
        (128, [shape(group=1, pad=64)]),
        (18, [shape(group=7)]),
        (16, [shape(itemsize=4)]),
        (8, [shape(group=1), shape(group=8, pad=256)]),
        (1, [shape(group=200)]),
    ],
)
def test_a_tile_holds_as_many_tokens_as_fit_in_every_layer(expected: int, of: list[Shape]) -> None:
    assert expected == tile_tokens(of)


def test_a_large_tile_has_more_warps() -> None:
    assert 16 == shape(group=1).rows(1)
    assert 128 == shape().rows(32)
    assert [4, 8] == [shape(pad=pad).warps(1) for pad in (64, 128)]


def test_less_is_read_at_once_of_wide_heads() -> None:
    assert [128, 64, 32, 16] == [keys_at_once(width, width, 2) for width in (64, 128, 256, 512)]
    assert 128 == keys_at_once(16, 16, 2)
    assert 16 == keys_at_once(1024, 1024, 4)


@pytest.mark.parametrize(
    ("expected", "tiles"), [(32, 1), (16, 2), (8, 3), (8, 4), (4, 8), (1, 17), (1, 1000)]
)
def test_few_tiles_are_split_until_they_fill_the_device(expected: int, tiles: int) -> None:
    assert expected == splits(tiles, 8, programs=264, longest=10_000)


def test_what_is_short_is_not_split_for_nothing() -> None:
    assert [1, 2, 2, 4] == [splits(1, 8, programs=264, longest=n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(("tokens", "rows"), [(576, 64), (40, 64), (200, 3), (9, 1)])
@pytest.mark.parametrize("tile", [1, 2, 32])
def test_every_number_of_tiles_that_a_batch_can_have_is_made(
    tokens: int, rows: int, tile: int
) -> None:
    most = most_tiles(tokens=tokens, rows=rows, tile=tile)
    short = min(rows - 1, (tokens - 2) // 2)
    many = [2] * short + [tokens - 2 * short]  # as many prompts as can be, and one that is long

    assert most >= tiles_of(many, tile)
    for tiles in range(2, most + 1):
        counts = with_tiles(tiles, tokens=tokens, tile=tile)
        assert tiles == tiles_of(counts, tile)
        assert 2 <= min(counts)
        assert tokens >= sum(counts)
        assert rows >= len(counts)


def tiles_of(counts: list[int], tile: int) -> int:
    return sum(-(-count // tile) for count in counts)


@pytest.mark.parametrize("programs", [1, 7, 16, 264])
@pytest.mark.parametrize("heads", [1, 2, 8, 12])
def test_every_number_of_splits_is_met_at_one_of_the_steps(programs: int, heads: int) -> None:
    steps = list(split_steps(heads, programs=programs, most=100))

    met = {splits(tiles, heads, programs=programs, longest=1000) for tiles in steps}
    assert met == {splits(tiles, heads, programs=programs, longest=1000) for tiles in range(1, 101)}
    assert len(steps) <= 9
