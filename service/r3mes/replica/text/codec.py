"""What the text side needs of a tokenizer, and the byte-level one that needs no files."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from r3mes.replica.text.detokenizer import ByteDetokenizer, Detokenizer, Pieces
from r3mes.replica.text.literal import Rewriting


class Codec(Protocol):
    """All methods may be called from several threads at once."""

    @property
    def added_tokens(self) -> Mapping[str, bool]:
        """Text of each added token, and whether it is a special one."""
        ...

    @property
    def rewrite(self) -> Rewriting | None:
        """What is done to text before `rewritten_tokens` are looked for, if there are any."""
        ...

    @property
    def rewritten_tokens(self) -> Mapping[str, bool]:
        """Added tokens that are looked for in rewritten text, as they stand there."""
        ...

    @property
    def longest_token(self) -> int:
        """Bytes of text that one id can stand for, at most."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def encode_rest(self, text: str) -> list[int]:
        """Ids of text that goes on after other text: nothing is put before it."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """What one id stands for; nothing for an id without a meaning."""
        ...

    def detokenizer(self, *, skip_special: bool, at_start: bool) -> Detokenizer:
        """`at_start` is false for ids that go on after others, as an answer does."""
        ...


class ByteCodec:
    """Ids 0 to 255 are bytes; then bos, eos and pad, which have no text that could be written."""

    BOS, EOS, PAD = 256, 257, 258
    NAMES = (b"<bos>", b"<eos>", b"<pad>")

    added_tokens: Mapping[str, bool] = MappingProxyType({})
    rewritten_tokens: Mapping[str, bool] = MappingProxyType({})
    rewrite: Rewriting | None = None
    longest_token = 1

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids = list(text.encode("utf-8"))
        return [self.BOS, *ids] if add_special_tokens else ids

    def encode_rest(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def token_bytes(self, token: int) -> bytes:
        if token < self.BOS:
            return bytes([token])
        return self.NAMES[token - self.BOS] if token <= self.PAD else b""

    def detokenizer(self, *, skip_special: bool, at_start: bool) -> Detokenizer:
        skip = range(self.BOS, self.PAD + 1) if skip_special else ()
        return ByteDetokenizer(Pieces(self.token_bytes), skip=skip, at_start=at_start)
