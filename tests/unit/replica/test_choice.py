"""One choice: updates of the engine in, pieces of text out."""

from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3mes.engine.messages import Logprob, Update
from r3mes.errors import (
    ContextTooLong,
    DeadlineExceeded,
    EngineCrash,
    InternalError,
    Overloaded,
    R3mesError,
)
from r3mes.replica.choice import Choice, Piece, Reading
from support.model_info import byte_model

TEXT = byte_model()
EOS = 257


def choice(*, logprobs: bool = False, **reading: Any) -> Choice:
    return Choice(TEXT, Reading(**reading), logprobs=logprobs)


def updates(ids: list[int], **end: Any) -> list[Update]:
    """One id an update; `end` belongs to the last."""
    last = len(ids) - 1
    return [
        Update(0, [token], [Logprob(token, -1.0, 1, [])], **(end if index == last else {}))
        for index, token in enumerate(ids)
    ]


def pieces(made: Choice, text: str, **end: Any) -> list[Piece]:
    return [made.take(update) for update in updates(list(text.encode()), **end)]


def texts(found: list[Piece]) -> list[str]:
    return [piece.text for piece in found]


def test_text_goes_out_as_it_comes() -> None:
    found = pieces(choice(), "abc", finish="length")

    assert ["a", "b", "c"] == texts(found)
    assert [None, None, "length"] == [piece.finish for piece in found]


def test_ids_wait_for_the_character_they_make() -> None:
    found = pieces(choice(), "🙂!")

    assert [[], [], [], list("🙂".encode()), [33]] == [piece.ids for piece in found]


def test_a_stop_string_ends_the_choice_and_is_not_in_the_text() -> None:
    made = choice(stops=["cd"])

    found = pieces(made, "abcd")

    assert ["a", "b", "", ""] == texts(found)
    assert ("stop", "cd", 4) == (found[3].finish, found[3].stop, made.count)


def test_a_stop_string_stays_when_asked() -> None:
    assert "abc" == "".join(texts(pieces(choice(stops=["c"], include_stop=True), "abc")))


def test_held_back_text_goes_out_at_the_end() -> None:
    assert ["a", "", "bc"] == texts(pieces(choice(stops=["bcd"]), "abc", finish="length"))


def test_no_stop_string_counts_among_the_first_tokens() -> None:
    made = choice(stops=["a"], min_tokens=2)

    assert ["a", "a", ""] == texts(pieces(made, "aaa"))
    assert 3 == made.count


@pytest.mark.parametrize(("include", "text"), [(False, "a"), (True, "ab")])
def test_the_token_that_ended_the_text_is_told_only_when_asked(include: bool, text: str) -> None:
    made = choice(stop_ids=[98], include_stop=include)

    found = pieces(made, "ab", finish="stop", stop_token=98)

    assert text == "".join(texts(found))
    assert ("stop", 98, 2) == (found[-1].finish, found[-1].stop, made.count)


def test_the_end_of_the_sequence_is_no_stop_of_the_client_s() -> None:
    found = choice().take(Update(0, [EOS], finish="stop", stop_token=EOS))

    assert ("", "stop", None) == (found.text, found.finish, found.stop)


def told_tokens(found: list[Piece]) -> list[list[int]]:
    return [[info.token for info in piece.tokens] for piece in found]


def test_probabilities_go_out_with_the_text_they_belong_to() -> None:
    made = choice(logprobs=True, stops=["bcx"])

    found = pieces(made, "abcd", finish="length")

    assert [[97], [], [], [98, 99, 100]] == told_tokens(found)


def test_probabilities_of_a_split_character_come_together() -> None:
    found = pieces(choice(logprobs=True), "é")

    assert [[], list("é".encode())] == told_tokens(found)
    assert [(0, 0), (0, 1)] == [(info.start, info.end) for info in found[1].tokens]


def test_tokens_of_a_stop_string_have_no_probabilities() -> None:
    found = pieces(choice(logprobs=True, stops=["cd"]), "abcd")

    assert [[97], [98], [], []] == told_tokens(found)


def test_the_end_of_the_sequence_has_no_probability() -> None:
    made = choice(logprobs=True)
    end = Update(0, [97, EOS], [Logprob(97, 0, 1, [])] * 2, finish="stop", stop_token=EOS)

    assert [[97]] == told_tokens([made.take(end)])


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=3), max_size=2))
def test_the_pieces_together_are_the_answer_in_one(text: str, stops: list[str]) -> None:
    ids = list(text.encode())
    one, many = choice(stops=stops, logprobs=True), choice(stops=stops, logprobs=True)
    whole = one.take(Update(0, ids, [Logprob(i, 0, 1, []) for i in ids], finish="length"))
    found = []
    for update in updates(ids, finish="length"):
        if many.finish is None:
            found.append(many.take(update))

    if ids:
        assert (whole.text, one.count) == ("".join(texts(found)), many.count)
        assert [info.token for info in whole.tokens] == list(chain(*told_tokens(found)))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_overloaded", Overloaded),
        ("deadline_exceeded", DeadlineExceeded),
        ("engine_crash", EngineCrash),
        ("context_length_exceeded", ContextTooLong),
        ("internal_error", R3mesError),
    ],
)
def test_an_error_of_the_engine_is_raised_as_what_it_is(code: str, kind: type[R3mesError]) -> None:
    with pytest.raises(kind, match=r"Why\.") as caught:
        choice().take(Update(0, [], finish="error", error=code, message="Why."))

    assert code == caught.value.code


def test_an_abort_that_nobody_asked_for_is_a_fault_of_ours() -> None:
    with pytest.raises(InternalError):
        choice().take(Update(0, [], finish="abort"))
