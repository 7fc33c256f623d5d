"""Token ids to text, one id at a time, in whole characters only. Knows no stop strings.

Most tokenizers are byte strings behind the ids: then text is the UTF-8 decoding of the joined
bytes, and decoding bytes as they come gives exactly the text of all of them. The others (none of
which splits characters) are decoded through a short window.
"""

import codecs
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

EACH_BYTE = "r3mes.each_byte"
WINDOW = 8  # ids that the generic way looks back on


def replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """What byte-fallback tokenizers do: one U+FFFD for every byte that is no UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error(EACH_BYTE, replace_each_byte)


class Detokenizer(Protocol):
    def feed(self, token: int) -> str:
        """The text that this id completes; may be empty."""
        ...

    def finish(self) -> str:
        """What is left when no more ids come; half a character becomes U+FFFD."""
        ...


@dataclass(frozen=True, slots=True)
class Pieces:
    """A tokenizer seen as bytes. `strip` is how many leading spaces a text's start loses."""

    bytes_of: Callable[[int], bytes]
    errors: str = "replace"
    strip: int = 0


class ByteDetokenizer:
    def __init__(self, pieces: Pieces, *, skip: Collection[int], at_start: bool) -> None:
        self._bytes_of = pieces.bytes_of
        self._skip = skip
        self._decoder = codecs.getincrementaldecoder("utf-8")(pieces.errors)
        self._strip = pieces.strip if at_start else 0

    def feed(self, token: int) -> str:
        if token in self._skip:
            return ""
        return self._stripped(self._decoder.decode(self._bytes_of(token)))

    def finish(self) -> str:
        return self._stripped(self._decoder.decode(b"", True))

    def _stripped(self, text: str) -> str:
        while self._strip and text:
            if text[0] != " ":
                self._strip = 0
                break
            text = text[1:]
            self._strip -= 1
        return text


class WindowDetokenizer:
    """Takes the text of an id to be what it adds to the text of the ids just before it."""

    def __init__(self, decode: Callable[[Sequence[int]], str], *, skip: Collection[int]) -> None:
        self._decode = decode
        self._skip = skip
        self._window: list[int] = []
        self._told = ""

    def feed(self, token: int) -> str:
        if token in self._skip:
            return ""
        self._window.append(token)
        text = self._decode(self._window)
        if text.endswith("\ufffd") and len(self._window) < WINDOW:
            return ""
        return self._tell(text)

    def finish(self) -> str:
        return self._tell(self._decode(self._window)) if self._window else ""

    def _tell(self, text: str) -> str:
        new = text[len(self._told) :]
        self._window = self._window[-(WINDOW // 2) :]
        self._told = self._decode(self._window)
        return new
