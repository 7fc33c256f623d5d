"""Asks one model of one server for one streamed answer and notes what was seen of it.

Knows the two endpoints; knows nothing of when requests start or what is made of the times.
"""

import time
from dataclasses import dataclass
from typing import Literal

import msgspec

from r3mes.client.answers import DONE, read_chunk
from r3mes.client.wire import post, target
from r3mes.errors import CallFailed

Endpoint = Literal["chat", "completions"]
PATHS: dict[Endpoint, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request as the client saw it; times are seconds of one clock."""

    started: float
    ended: float
    arrivals: tuple[float, ...] = ()  # of the events that carried text
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None  # the kind, in few words
    sentence: str | None = None  # what was said of the error


@dataclass(frozen=True)
class Caller:
    url: str
    model: str
    endpoint: Endpoint
    api_key: str | None
    timeout_s: float
    ignore_eos: bool = True  # every answer gets the same length; not all servers know the field

    async def ask(self, prompt: str, *, max_tokens: int) -> Outcome:
        """One request; a failure is an outcome like any other."""
        seen = Seen()
        started = time.perf_counter()
        error = sentence = None
        try:
            to = target(self.url, PATHS[self.endpoint], api_key=self.api_key)
            body = self.body(prompt, max_tokens=max_tokens)
            await post(to, body, on_data=seen.add, timeout_s=self.timeout_s)
            seen.check_end()
        except CallFailed as failure:
            error, sentence = failure.code, failure.message
        return Outcome(
            started=started,
            ended=time.perf_counter(),
            arrivals=tuple(seen.arrivals),
            prompt_tokens=seen.prompt_tokens,
            output_tokens=seen.output_tokens or len(seen.arrivals),
            error=error,
            sentence=sentence,
        )

    def body(self, prompt: str, *, max_tokens: int) -> bytes:
        said = (
            {"messages": [{"role": "user", "content": prompt}]}
            if self.endpoint == "chat"
            else {"prompt": prompt}
        )
        options = {
            "model": self.model,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.ignore_eos:
            options["ignore_eos"] = True
        return msgspec.json.encode(options | said)


class Seen:
    """Collects the events of one stream."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.prompt_tokens = 0
        self.output_tokens = 0
        self._ended = False
        self._failure: CallFailed | None = None

    def add(self, payload: bytes, arrived: float) -> None:
        if payload == DONE:
            self._ended = True
            return
        try:
            chunk = read_chunk(payload)
        except CallFailed as failure:
            self._failure = self._failure or failure
            return
        if any(choice.finish_reason for choice in chunk.choices):
            self._ended = True
        if chunk.piece:
            self.arrivals.append(arrived)
        if chunk.usage:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.output_tokens = chunk.usage.completion_tokens

    def check_end(self) -> None:
        """Raise what an event said, or that the stream lacked its end."""
        if self._failure:
            raise self._failure
        if not self._ended:
            raise CallFailed("The stream had no finish reason and no [DONE].", code="no end")
