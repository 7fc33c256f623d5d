"""Attention over the paged cache of the operators against a dense reference, on every instruction
set of this machine: ragged batches of prompts and single tokens over shuffled block tables."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from r3mes.engine.attention import Heads
from r3mes.engine.native.cache import NativeCache, refusal, stored
from r3mes.engine.native.library import Operators, Team
from r3mes.engine.native.swapped import NativeStep
from r3mes.engine.pool_size import LayerShape, make_pool
from r3mes.engine.runner import Row
from r3mes.engine.step import blocks_of

ROUNDING = 1e-5  # values are about one
HALF = 2e-3  # keys and values lose 13 of their 24 bits
LAYER = 3  # any number
STRETCH = 256  # keys of which one pass makes the softmax
Part = tuple[int, int, int]  # a sequence, and which of its tokens are fed


@dataclass(frozen=True)
class Case:
    heads: int = 2
    group: int = 2  # query heads of a key head
    width: int = 16
    value_width: int = 16
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    scaling: float | None = None
    block_size: int = 16
    half: bool = False

    @property
    def shape(self) -> LayerShape:
        dtype = torch.float16 if self.half else torch.float32
        return LayerShape(self.heads, self.width, self.value_width, self.window, dtype)

    @property
    def tolerance(self) -> float:
        return HALF if self.half else ROUNDING


@dataclass(frozen=True)
class Sequence:
    """Everything that will ever be fed of it: [heads, tokens, width]."""

    query: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def random(cls, case: Case, length: int, *, seed: int) -> "Sequence":
        dice = torch.Generator().manual_seed(seed)

        def numbers(heads: int, width: int) -> Tensor:
            return torch.randn(heads, length, width, generator=dice)

        return cls(
            numbers(case.heads * case.group, case.width),
            numbers(case.heads, case.width),
            numbers(case.heads, case.value_width),
        )

    def heads(self, case: Case, begin: int, end: int) -> Heads:
        query, key, value = (it[None, :, begin:end] for it in (self.query, self.key, self.value))
        sinks = sinks_of(case) if case.sinks else None
        return Heads(query, key, value, case.scaling, case.window, case.softcap, sinks)


def sinks_of(case: Case) -> Tensor:
    return torch.linspace(-2, 3, case.heads * case.group)


def dense(case: Case, it: Sequence) -> Tensor:
    """[tokens, query heads, value width], with the whole matrix of scores."""
    key, value = (part.repeat_interleave(case.group, dim=0) for part in (it.key, it.value))
    scale = case.width**-0.5 if case.scaling is None else case.scaling
    scores = it.query @ key.transpose(1, 2) * scale
    if case.softcap is not None:
        scores = torch.tanh(scores / case.softcap) * case.softcap
    places = torch.arange(scores.shape[-1])
    back = places[:, None] - places[None]
    hidden = (back < 0) | (back >= (case.window or len(places)))
    scores = scores.masked_fill(hidden, float("-inf"))
    if case.sinks:
        sinks = sinks_of(case)[:, None, None].expand(-1, len(places), 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights = scores.softmax(dim=-1)[..., : len(places)]
    return (weights @ value).transpose(0, 1)


def joined(parts: list[Heads]) -> Heads:
    """The heads of a flat batch."""
    query, key, value = (
        torch.cat([getattr(part, name) for part in parts], dim=2)
        for name in ("query", "key", "value")
    )
    return replace(parts[0], query=query, key=key, value=value)


class Cached:
    """The operators with a cache, and sequences that hold shuffled blocks of it."""

    def __init__(self, found: Operators, team: Team, case: Case, lengths: list[int]) -> None:
        self.found, self.team, self.case = found, team, case
        counts = [blocks_of(length, case.block_size) for length in lengths]
        shapes = {LAYER: case.shape}
        size = case.block_size
        pool = make_pool(shapes.values(), sum(counts) + 1, block_size=size, longest=1, cpu=True)
        self.cache = NativeCache(shapes, pool)
        shuffled = torch.randperm(pool.blocks, generator=torch.Generator().manual_seed(0)).tolist()
        self.tables = [[shuffled.pop() for _ in range(count)] for count in counts]

    def step(self, sequences: list[Sequence], parts: list[Part]) -> list[Tensor]:
        """One call; the results of each part."""
        rows = [Row([0] * (end - begin), begin, self.tables[i], None) for i, begin, end in parts]
        heads = [sequences[i].heads(self.case, begin, end) for i, begin, end in parts]
        step = NativeStep(self.found, self.team, self.cache, rows)
        out = step.attend(LAYER, joined(heads))[0]
        return list(out.split([end - begin for _, begin, end in parts]))

    def spoil(self) -> None:
        """Keys and values of former owners that are not finite, in every slot of every table."""
        for place, table in enumerate(self.tables):
            length = len(table) * self.case.block_size
            random = Sequence.random(self.case, length, seed=0)
            bad = Sequence(*(torch.full_like(it, float("nan")) for it in vars(random).values()))
            self.step([bad] * (place + 1), [(place, 0, length)])


def fed(cached: Cached, sequences: list[Sequence], steps: list[list[Part]]) -> list[Tensor]:
    """What all tokens of each sequence got, fed step by step."""
    got: list[list[Tensor]] = [[] for _ in sequences]
    for parts in steps:
        for (place, _, _), out in zip(parts, cached.step(sequences, parts), strict=True):
            got[place].append(out)
    return [torch.cat(parts) for parts in got]


def refuse_difference(case: Case, sequences: list[Sequence], got: list[Tensor]) -> None:
    for sequence, out in zip(sequences, got, strict=True):
        assert case.tolerance > float((dense(case, sequence) - out).abs().max())


# Prompts beside tokens of other sequences, at starts within blocks and between them.
STEPS: list[list[Part]] = [
    [(0, 0, 37), (1, 0, 1)],
    [(1, 1, 2), (0, 37, 38), (2, 0, 50)],
    [(0, 38, 39), (1, 2, 48), (2, 50, 51)],
    [(2, 51, 52), (1, 48, 49), (0, 39, 40)],
    [(2, 52, 70), (1, 49, 50), (0, 40, 41)],
]
LENGTHS = [41, 50, 70]
CASES = [
    *(Case(group=group) for group in (1, 2, 3, 4, 8, 16)),
    *(Case(width=width, value_width=width) for width in (64, 128, 256)),
    Case(width=64, value_width=32),
    Case(width=16, value_width=128),
    *(Case(window=window) for window in (1, 5, 16, 300)),
    *(Case(window=window, group=1) for window in (2, 5, 16)),
    Case(window=5, group=8),
    *(Case(block_size=size) for size in (32, 48)),
    Case(block_size=48, window=16),
    Case(softcap=2.0),
    Case(softcap=2.0, window=5, group=3),
    Case(sinks=True),
    Case(sinks=True, window=5, group=16),
    Case(scaling=0.5, heads=1, group=4),
    Case(heads=5, group=1),
    Case(half=True),
    Case(half=True, width=128, value_width=64, group=4, window=16, block_size=32),
    Case(half=True, sinks=True, softcap=2.0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ragged_batches_are_attended_like_whole_sequences(
    found: Operators, team: Team, case: Case
) -> None:
    cached = Cached(found, team, case, LENGTHS)
    sequences = [Sequence.random(case, length, seed=i) for i, length in enumerate(LENGTHS)]

    refuse_difference(case, sequences, fed(cached, sequences, STEPS))


@pytest.mark.parametrize("length", [255, 256, 257, 600])
@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(group=16),
        Case(window=300, block_size=48),
        Case(window=16),
        Case(sinks=True, softcap=5.0, block_size=32),
        Case(half=True, group=3),
    ],
    ids=str,
)
def test_contexts_of_several_stretches_are_attended_like_one(
    found: Operators, team: Team, case: Case, length: int
) -> None:
    cached = Cached(found, team, case, [length])
    sequences = [Sequence.random(case, length, seed=0)]
    cuts = [0, length - 30, length - 2, length - 1, length]

    steps = [[(0, begin, end)] for begin, end in pairwise(cuts)]
    refuse_difference(case, sequences, fed(cached, sequences, steps))


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("group", [2, 16])
def test_scores_that_grow_from_stretch_to_stretch_keep_their_proportions(
    found: Operators, team: Team, window: int | None, group: int
) -> None:
    case = Case(heads=1, group=group, window=window)
    plain = Sequence.random(case, 3 * STRETCH, seed=0)
    growing = replace(plain, key=plain.key * torch.linspace(0, 8, 3 * STRETCH)[:, None])
    cached = Cached(found, team, case, [3 * STRETCH])

    got = fed(cached, [growing], [[(0, 0, 3 * STRETCH)]])

    assert ROUNDING * 10 > float((dense(case, growing) - got[0]).abs().max())


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(window=5),
        Case(window=16, block_size=48),
        Case(group=16),
        Case(sinks=True, softcap=2.0),
        Case(half=True, block_size=32),
    ],
    ids=str,
)
def test_what_a_former_owner_left_in_a_block_harms_nobody(
    found: Operators, team: Team, case: Case
) -> None:
    cached = Cached(found, team, case, LENGTHS)
    sequences = [Sequence.random(case, length, seed=i) for i, length in enumerate(LENGTHS)]
    cached.spoil()

    refuse_difference(case, sequences, fed(cached, sequences, STEPS))


@pytest.mark.parametrize("case", [Case(), Case(sinks=True), Case(window=5), Case(softcap=2.0)])
def test_numbers_that_are_not_finite_are_seen_by_their_own_sequence_alone(
    found: Operators, team: Team, case: Case
) -> None:
    good, bad = (Sequence.random(case, 40, seed=i) for i in range(2))
    bad.query[:, 39] = bad.key[:, 39] = bad.value[:, 39] = float("nan")
    cached = Cached(found, team, case, [40, 40])

    sound, broken = fed(cached, [good, bad], [[(0, 0, 39), (1, 0, 39)], [(0, 39, 40), (1, 39, 40)]])

    refuse_difference(case, [good], [sound])
    assert not broken[39].isfinite().any()


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_the_number_of_threads_changes_nothing(found: Operators, threads: int) -> None:
    case = Case(group=3)
    sequences = [Sequence.random(case, length, seed=i) for i, length in enumerate(LENGTHS)]
    one, many = (Cached(found, Team(found, count), case, LENGTHS) for count in (1, threads))

    expected = [it.tolist() for it in fed(one, sequences, STEPS)]
    assert expected == [it.tolist() for it in fed(many, sequences, STEPS)]


@pytest.mark.parametrize(
    ("expected", "shape", "block_size"),
    [
        ("", LayerShape(2, 16, 16, None, torch.float32), 16),
        ("", LayerShape(2, 512, 512, None, torch.float32), 48),
        ("block_size is 8", LayerShape(2, 16, 16, None, torch.float32), 8),
        ("heads are 24 wide", LayerShape(2, 24, 16, None, torch.float32), 16),
        ("heads are 24 wide", LayerShape(2, 16, 24, None, torch.float32), 16),
        ("heads are 528 wide", LayerShape(2, 528, 16, None, torch.float32), 16),
    ],
)
def test_a_cache_that_does_not_fit_into_vectors_is_refused_with_the_reason(
    expected: str, shape: LayerShape, block_size: int
) -> None:
    reason = refusal({0: shape}, block_size)

    assert expected == reason[: len(expected)]
    assert bool(expected) == bool(reason)


def test_a_cache_in_sixteen_bits_takes_half_the_memory() -> None:
    shape = LayerShape(2, 16, 16, 5, torch.float32)

    narrow = stored({0: shape}, torch.float16)[0]

    assert shape.token_bytes == 2 * narrow.token_bytes
    assert replace(shape, dtype=torch.float16) == narrow


def test_scores_that_all_overflow_are_seen_as_broken(found: Operators, team: Team) -> None:
    case = Case()
    cached = Cached(found, team, case, [3])
    made = Sequence.random(case, 3, seed=0)
    endless = replace(made, query=made.query * 0 + 1, key=made.key * 0 - 3e38)

    (out,) = cached.step([endless], [(0, 0, 3)])

    assert out.isnan().all()
