"""Loads a checkpoint's tokenizer and sees it as a Codec. The only place that knows transformers.

A worker calls `bar_torch` first: transformers loads tokenizers without torch when it does not find
it, and a worker that imports torch would hold 300 MB and start seconds later.

Only reading methods of the tokenizer are used after loading. Setters are what makes a fast
tokenizer fail ("Already borrowed") when another thread encodes, so no lock is needed.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r3mes.engine.messages import ModelInfo
from r3mes.errors import StartError, first_line
from r3mes.replica.text.codec import ByteCodec
from r3mes.replica.text.detokenizer import (
    ByteDetokenizer,
    Detokenizer,
    Pieces,
    WindowDetokenizer,
)
from r3mes.replica.text.forms import ByteLevelForm, form_of
from r3mes.replica.text.literal import Rewriting
from r3mes.replica.text.model import TextModel
from r3mes.replica.text.template import ChatTemplate

PLAIN_TEMPLATE = """\
{% for message in messages %}{{ message.role }}: {{ message.content }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""

SHRINKING = 3  # a normalizer may join so many bytes into one


def bar_torch() -> None:
    """Make torch unfindable in this process; harmless where it is imported already."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # no pool of threads for one text
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # None means "not to be found"


def load_text_model(info: ModelInfo, chat_template: Path | None) -> TextModel:
    """Takes seconds: call it in a thread. Raises StartError for a model it cannot serve."""
    if not info.path:
        return TextModel(ByteCodec(), template_of(PLAIN_TEMPLATE, chat_template, {}), info=info)
    tokenizer = load_tokenizer(info.path)
    constants = {
        name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)
    }
    template = template_of(own_template(tokenizer), chat_template, constants)
    return TextModel(BackendCodec(tokenizer.backend_tokenizer), template, info=info)


def load_tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # it raises nearly everything, by the kind of what is broken
        raise StartError(f"The tokenizer cannot be loaded: {first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise StartError("The tokenizer has no fast form (tokenizer.json); this model is refused.")
    return tokenizer


def own_template(tokenizer: Any) -> str | None:
    """The checkpoint's template; of several named ones the default."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def template_of(
    own: str | None, replacement: Path | None, constants: Mapping[str, str]
) -> ChatTemplate | None:
    if replacement is not None:
        try:
            own = replacement.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"The chat template {replacement} cannot be read.") from error
    return None if own is None else ChatTemplate(own, constants=constants)


class BackendCodec:
    """Over a `tokenizers.Tokenizer`."""

    def __init__(self, backend: Any) -> None:
        backend.no_truncation()  # what training left in the file would cut and pad every prompt
        backend.no_padding()
        added = backend.get_added_tokens_decoder()
        self.added_tokens = {entry.content: bool(entry.special) for entry in added.values()}
        self.rewrite: Rewriting | None = backend.normalizer and backend.normalizer.normalize_str
        self.rewritten_tokens = {
            self.rewrite(entry.content): bool(entry.special)
            for entry in added.values()
            if entry.normalized and self.rewrite
        }
        self.longest_token = longest_token(backend)
        self._backend = backend
        self._added: dict[int, str] = {token: entry.content for token, entry in added.items()}
        self._special = frozenset(token for token, entry in added.items() if entry.special)
        self._form = form_of(decoder_of(backend))
        self._bytes: dict[int, bytes] = {}
        self._newline = self.encode("\n", add_special_tokens=False)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        # The batch form works without the interpreter's lock and skips offsets: 3 times as fast.
        batch = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        ids: list[int] = batch[0].ids
        return ids

    def encode_rest(self, text: str) -> list[int]:
        """Encoded after a newline, so that no space is put before it as at a text's start."""
        ids = self.encode("\n" + text, add_special_tokens=False)
        count = len(self._newline)
        if ids[:count] == self._newline:
            return ids[count:]
        return self.encode(text, add_special_tokens=False)

    def token_bytes(self, token: int) -> bytes:
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._read_bytes(token)
        return known

    def detokenizer(self, *, skip_special: bool, at_start: bool) -> Detokenizer:
        skip = self._special if skip_special else ()
        if self._form is None:
            return WindowDetokenizer(self._decode, skip=skip)
        strip = self._form.strip
        pieces = Pieces(self.token_bytes, errors=self._form.errors, strip=strip)
        return ByteDetokenizer(pieces, skip=skip, at_start=at_start)

    def _read_bytes(self, token: int) -> bytes:
        text = self._backend.id_to_token(token)
        if text is None:  # the embedding may have more rows than the tokenizer has ids
            return b""
        if self._form is None:
            return self._decode([token]).encode()
        if isinstance(self._form, ByteLevelForm) and token in self._added:
            return self._added[token].encode()  # it is never written as visible bytes
        return self._form.read(text)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text


def decoder_of(backend: Any) -> dict[str, Any] | None:
    declared: dict[str, Any] | None = (
        None if backend.decoder is None else json.loads(backend.decoder.__getstate__())
    )
    return declared


def longest_token(backend: Any) -> int:
    """Most bytes of text behind one id: no vocabulary writes a token shorter than its text."""
    longest = max(len(text.encode()) for text in backend.get_vocab(with_added_tokens=True))
    return longest if backend.normalizer is None else longest * SHRINKING
