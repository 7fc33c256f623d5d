"""What users write never becomes a control token."""

# ruff: noqa: RUF001 - letters that look alike are what some tests are about

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3mes.errors import InvalidRequest
from r3mes.replica.text.literal import MARKS, Literals, free_marks, trie_pattern

MARK = MARKS[0]
WORDS = st.lists(st.text("ab<|", min_size=2, max_size=4), min_size=1, max_size=6)


@given(WORDS, st.text("ab<|", max_size=30))
def test_no_token_is_left_whole(tokens: list[str], text: str) -> None:
    marked = Literals(tokens).marked(text, MARK)

    assert [] == [token for token in tokens if token in marked]
    assert text == marked.replace(MARK, "")


FULL_WIDTH = {"＜": "<", "＞": ">", "Ａ": "a", "A": "a"}


def rewritten(text: str) -> str:
    """As a tokenizer that knows one width and one case of letters."""
    return "".join(FULL_WIDTH.get(char, char) for char in text)


@given(WORDS, st.text("ab<|＜ＡA", max_size=200))
def test_no_token_shows_when_the_text_is_rewritten(tokens: list[str], text: str) -> None:
    marked = Literals([], rewritten=tokens, rewrite=rewritten).marked(text, MARK)

    assert [] == [token for token in tokens if token in rewritten(marked)]
    assert text == marked.replace(MARK, "")


def test_text_that_shows_no_token_is_left_as_it_is() -> None:
    literals = Literals(["<s>"], rewritten=["<s>"], rewrite=rewritten)

    assert "＜ s ＞" * 1000 == literals.marked("＜ s ＞" * 1000, MARK)
    assert f"＜s{MARK}＞" == literals.marked("＜s＞", MARK)


def test_a_character_that_is_rewritten_to_a_whole_token_is_refused() -> None:
    literals = Literals([], rewritten=["<s>"], rewrite=lambda text: text.replace("§", "<s>"))

    with pytest.raises(InvalidRequest):
        literals.marked("a§", MARK)


@pytest.mark.no_cover  # which would take most of the time
@pytest.mark.parametrize("text", ["＜s＞" * 100_000, "＜s" * 150_000, "＜s＞" + "a" * 300_000])
def test_text_full_of_rewritten_tokens_is_cut_in_linear_time(text: str) -> None:
    literals = Literals([], rewritten=["<s>"], rewrite=rewritten)
    began = time.thread_time()

    literals.marked(text, MARK)

    assert time.thread_time() - began < 10


def test_tokens_of_spaces_and_of_one_character_are_ordinary_text() -> None:
    literals = Literals(["\n\n", "▁▁", "x", "<s>"])

    assert f"x\n\n▁▁<{MARK}s>" == literals.marked("x\n\n▁▁<s>", MARK)


def test_strings_are_found_wherever_they_stand() -> None:
    value = {"a": ["<s>", {"<s>": 1}], "n": None}

    assert {"a": [f"<{MARK}s>", {f"<{MARK}s>": 1}], "n": None} == Literals(["<s>"]).mark_all(
        value, MARK
    )


def test_a_mark_is_none_of_the_characters_in_use() -> None:
    assert [MARKS[2], MARKS[3]] == free_marks({"a": [MARKS[0]], MARKS[1]: "b"}, 2)


def test_a_text_that_uses_all_marks_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        free_marks(["".join(MARKS)], 1)


@given(WORDS, st.text("ab<|", max_size=12))
def test_the_pattern_matches_where_one_of_the_words_begins(words: list[str], text: str) -> None:
    pattern = re.compile(trie_pattern(words))

    assert any(text.startswith(word) for word in words) == bool(pattern.match(text))


def test_thousands_of_tokens_are_looked_for_in_linear_time() -> None:
    literals = Literals([f"<unused{number}>" for number in range(6000)])
    text = "<unused" * 140_000
    began = time.thread_time()

    literals.marked(text, MARK)

    assert time.thread_time() - began < 5
