"""Stop strings in text that arrives in pieces."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r3mes.replica.text.stops import StopMatcher

LETTERS = st.text("abc", max_size=40)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4)


def run(pieces: list[str], stops: list[str], *, include: bool = False) -> tuple[str, str | None]:
    matcher = StopMatcher(stops, include=include)
    told = []
    for piece in pieces:
        told.append(matcher.feed(piece))
        if matcher.found is not None:
            return "".join(told), matcher.found
    return "".join([*told, matcher.finish()]), None


def oracle(text: str, stops: list[str], *, include: bool) -> tuple[str, str | None]:
    """The first end of any stop string; of those that end there the longest."""
    for end in range(len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            stop = max(ending, key=len)
            return (text[:end] if include else text[: end - len(stop)]), stop
    return text, None


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(LETTERS, STOPS, st.lists(st.integers(0, 40), max_size=8), st.booleans())
@example("abcd", ["abcd", "bc"], [], False)
@example("aab", ["ab", "aabx"], [1, 2], False)
def test_the_result_is_that_of_the_whole_text_however_it_was_cut(
    text: str, stops: list[str], places: list[int], include: bool
) -> None:
    assert oracle(text, stops, include=include) == run(cut(text, places), stops, include=include)


@pytest.mark.parametrize(
    ("pieces", "stops", "told"),
    [
        (["Hello", " wor", "ld"], ["world"], ["Hello", " ", ""]),
        (["a<", "/", "b"], ["</s>"], ["a", "", "</b"]),
        (["x", "y"], [], ["x", "y"]),
        (["\n", "\n"], ["\n\n"], ["", ""]),
    ],
)
def test_only_what_may_yet_become_a_stop_string_is_held_back(
    pieces: list[str], stops: list[str], told: list[str]
) -> None:
    matcher = StopMatcher(stops)

    assert told == [matcher.feed(piece) for piece in pieces]


def test_what_was_held_back_is_text_when_the_text_ends() -> None:
    matcher = StopMatcher(["</s>"])

    assert ("a", "</") == (matcher.feed("a</"), matcher.finish())
