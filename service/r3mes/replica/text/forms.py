"""How the texts of tokens stand for bytes, read from the decoder that a tokenizer declares.

Knows the declaration of the `tokenizers` library as data, not the library.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from r3mes.replica.text.detokenizer import EACH_BYTE

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Form(Protocol):
    @property
    def errors(self) -> str:
        """What becomes of bytes that are no UTF-8: a name that `codecs` knows."""
        ...

    @property
    def strip(self) -> int:
        """Leading spaces that the start of a text loses."""
        ...

    def read(self, text: str) -> bytes: ...


def visible_bytes() -> dict[str, int]:
    """Byte-level tokenizers write each byte as a printable character: this undoes it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + index): byte for index, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


VISIBLE = visible_bytes()


class ByteLevelForm:
    errors = "replace"
    strip = 0

    def read(self, text: str) -> bytes:
        try:
            return bytes([VISIBLE[char] for char in text])
        except KeyError:  # some vocabularies hold a few tokens in plain writing
            return text.encode()


@dataclass(frozen=True)
class PlainForm:
    """Tokens are text, but for a sign that stands for a space, and for tokens like `<0x0A>`."""

    replacements: tuple[tuple[str, str], ...]
    byte_fallback: bool
    strip: int

    @property
    def errors(self) -> str:
        return EACH_BYTE if self.byte_fallback else "replace"

    def read(self, text: str) -> bytes:
        byte = BYTE_TOKEN.fullmatch(text) if self.byte_fallback else None
        if byte:
            return bytes([int(byte[1], 16)])
        for old, new in self.replacements:
            text = text.replace(old, new)
        return text.encode()


def form_of(decoder: Mapping[str, Any] | None) -> Form | None:
    """None for a decoder whose tokens do not stand for themselves."""
    if decoder is None:
        return None
    steps = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    if steps == [step for step in steps if step["type"] in {"ByteLevel", "Fuse"}]:
        return ByteLevelForm() if any(step["type"] == "ByteLevel" for step in steps) else None
    if steps[0]["type"] == "Metaspace" and len(steps) == 1:
        return metaspace(steps[0])
    return plain(steps)


def metaspace(step: Mapping[str, Any]) -> PlainForm:
    strip = 0 if step.get("prepend_scheme") == "never" else 1
    return PlainForm(((step["replacement"], " "),), byte_fallback=False, strip=strip)


def plain(steps: Sequence[Mapping[str, Any]]) -> PlainForm | None:
    """Replace and ByteFallback, each token by itself; then Fuse, and Strip of leading spaces."""
    replacements: list[tuple[str, str]] = []
    strip = 0
    fused = False
    for step in steps:
        match step:
            case {"type": "Replace", "pattern": {"String": old}, "content": new} if not fused:
                replacements.append((old, new))
            case {"type": "ByteFallback"} if not fused:
                pass
            case {"type": "Fuse"}:
                fused = True
            case {"type": "Strip", "content": " ", "start": start, "stop": 0} if fused:
                strip = start
            case _:
                return None
    fallback = any(step["type"] == "ByteFallback" for step in steps)
    return PlainForm(tuple(replacements), byte_fallback=fallback, strip=strip) if fused else None
