"""Ids to text, one at a time: the same text as all at once, in whole characters."""

import codecs

from hypothesis import given
from hypothesis import strategies as st

from r3mes.replica.text.codec import ByteCodec
from r3mes.replica.text.detokenizer import (
    EACH_BYTE,
    ByteDetokenizer,
    Detokenizer,
    Pieces,
    WindowDetokenizer,
)

CODEC = ByteCodec()


def deltas(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*map(detokenizer.feed, ids), detokenizer.finish()]


@given(st.binary(max_size=40))
def test_bytes_one_by_one_give_the_text_of_all_of_them(data: bytes) -> None:
    detokenizer = CODEC.detokenizer(skip_special=True, at_start=False)

    assert data.decode("utf-8", "replace") == "".join(deltas(detokenizer, list(data)))


@given(st.text(max_size=20))
def test_no_delta_holds_a_part_of_a_character(text: str) -> None:
    detokenizer = CODEC.detokenizer(skip_special=True, at_start=False)

    assert text.replace("\ufffd", "") == "".join(
        delta for delta in deltas(detokenizer, list(text.encode())) if delta != "\ufffd"
    )


def test_a_character_comes_with_its_last_byte() -> None:
    detokenizer = CODEC.detokenizer(skip_special=True, at_start=False)

    assert ["", "", "", "🙂", ""] == deltas(detokenizer, list("🙂".encode()))


def test_half_a_character_at_the_end_becomes_a_replacement_character() -> None:
    detokenizer = CODEC.detokenizer(skip_special=True, at_start=False)

    assert ["", "", "", "\ufffd"] == deltas(detokenizer, list("🙂".encode()[:3]))


def test_special_tokens_are_skipped_only_when_asked() -> None:
    ids = [CODEC.BOS, 104, CODEC.EOS]
    shown = CODEC.detokenizer(skip_special=False, at_start=False)
    hidden = CODEC.detokenizer(skip_special=True, at_start=False)

    assert "<bos>h<eos>" == "".join(deltas(shown, ids))
    assert "h" == "".join(deltas(hidden, ids))


def test_byte_fallback_replaces_each_byte_that_is_no_text() -> None:
    codecs.lookup_error(EACH_BYTE)
    pieces = Pieces(lambda token: bytes([token]), errors=EACH_BYTE)
    detokenizer = ByteDetokenizer(pieces, skip=(), at_start=False)

    assert "\ufffd\ufffda\ufffd" == "".join(deltas(detokenizer, [0xE2, 0x82, 0x61, 0xFF]))


def test_only_the_start_of_a_text_loses_its_space() -> None:
    pieces = Pieces([b" a", b" b"].__getitem__, strip=1)
    start = ByteDetokenizer(pieces, skip=(), at_start=True)
    rest = ByteDetokenizer(pieces, skip=(), at_start=False)

    assert "a b" == "".join(deltas(start, [0, 1]))
    assert " a b" == "".join(deltas(rest, [0, 1]))


@given(st.lists(st.integers(0, 3), max_size=60))
def test_a_tokenizer_that_joins_words_is_read_through_a_window(ids: list[int]) -> None:
    words = ["one", "two", "three", "four"]

    def decode(some: list[int]) -> str:
        return " ".join(words[token] for token in some)

    detokenizer = WindowDetokenizer(decode, skip=())

    assert decode(ids) == "".join(deltas(detokenizer, ids))
