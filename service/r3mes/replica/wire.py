"""What chat and completions answers have in common on the wire: identity, usage, frames.

A frame is one server-sent event. Its constant part is encoded once a request; only text, logprobs
and numbers are encoded per token.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from r3mes.errors import R3mesError
from r3mes.protocol.generation import GenerationBody

DONE = b"data: [DONE]\n\n"
NULL = b"null"
OBFUSCATED_SIZE = 32  # text of a chunk is padded to a multiple of so many bytes

to_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Identity:
    """What all chunks of one answer repeat."""

    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: str | None

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
        }
        if self.service_tier is not None:
            fields["service_tier"] = self.service_tier
        return fields


def identity_of(
    body: GenerationBody, *, id: str, object: str, model: str, fingerprint: str
) -> Identity:
    return Identity(
        id=id,
        object=object,
        created=int(time.time()),
        model=body.model or model,
        system_fingerprint=f"fp_{fingerprint[:16]}",
        service_tier=None if body.service_tier is None else "default",
    )


@dataclass(frozen=True, slots=True)
class Usage:
    prompt: int
    completion: int
    cached: int

    def fields(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


class Frames:
    """Makes an answer's chunks as the client's stream options want them."""

    def __init__(
        self, identity: Identity, body: GenerationBody, usage: Callable[[], Usage]
    ) -> None:
        options = body.stream_options
        self._head = b"data: " + to_json(identity.fields())[:-1] + b',"choices":['
        self.usage_wanted = bool(options and options.include_usage)
        self.usage_always = self.usage_wanted and bool(options and options.continuous_usage_stats)
        self._usage = usage
        self._told = 0  # completion tokens of the last chunk with text
        self._obfuscate = bool(options and options.include_obfuscation)

    def chunk(self, choice: bytes, *, text: int = 0, opening: bool = False) -> bytes:
        """One event; `text` is the size of the text in it, `opening` says that none was made."""
        parts = [self._head, choice, b"]"]
        if self._obfuscate:
            missing = -text % OBFUSCATED_SIZE
            parts.append(b',"obfuscation":' + to_json(secrets.token_hex(missing)[:missing]))
        if self.usage_always:
            parts.append(b',"usage":' + to_json(self._usage_now(opening=opening).fields()))
        elif self.usage_wanted:
            parts.append(b',"usage":null')
        parts.append(b"}\n\n")
        return b"".join(parts)

    def closing(self) -> bytes:
        """What follows the last choice's end."""
        if not self.usage_wanted:
            return DONE
        return self._head + b'],"usage":' + to_json(self._usage().fields()) + b"}\n\n" + DONE

    def _usage_now(self, *, opening: bool) -> Usage:
        usage = self._usage()
        if opening:
            usage = replace(usage, completion=self._told)
        self._told = usage.completion
        return usage


def error_frame(error: R3mesError) -> bytes:
    """An error after the first byte: an event of its own, and the end of the stream."""
    return b"data: " + to_json(error.body()) + b"\n\n" + DONE
