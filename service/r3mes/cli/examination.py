"""The checks of a running server, each a call that a client would make.

A check returns what it saw in one line and raises CallFailed for what is wrong. Knows no terminal.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from r3mes.cli.server import failures_in_one_sentence, served_model
from r3mes.client.answers import DONE, Usage, read_chunk, refusal
from r3mes.errors import CallFailed

QUESTION = "What does the readiness probe wait for?"
MAX_TOKENS = 32
POLL_S = 0.5
PROBE_TIMEOUT_S = 5.0
CHAT = "/v1/chat/completions"
TRACERESPONSE = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Said(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    message: Said
    finish_reason: str | None = None


class Answer(msgspec.Struct, frozen=True):
    choices: list[Choice]
    usage: Usage


class Readiness(msgspec.Struct, frozen=True):
    """The body of /readyz, as far as it is shown to people."""

    phase: str = "unknown"
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.phase} ({self.detail})" if self.detail else self.phase


class Examination:
    """One visit to a server. Its calls share a connection, so behind a Service one pod gets all."""

    def __init__(self, client: httpx.Client, *, model: str | None) -> None:
        self.client = client
        self.url = str(client.base_url).rstrip("/")
        self.model = model
        self.trace_id = secrets.token_hex(16)
        self.calls = 0
        self.tokens = 0
        self.traceresponses: list[str | None] = []

    def ready(self, wait_s: float, *, on_wait: Callable[[str], None]) -> str:
        """Wait until it says that it is; `on_wait` hears what it says meanwhile."""
        deadline = time.monotonic() + wait_s
        heard = ""
        while True:
            ready, state = self._readiness()
            if ready:
                return f"{self.url}/readyz says {state}"
            if time.monotonic() >= deadline:
                raise CallFailed(f"Not ready after {wait_s:g} s: {state}")
            if state != heard:
                on_wait(f"waiting: {state}")
                heard = state
            time.sleep(POLL_S)

    def _readiness(self) -> tuple[bool, str]:
        try:
            with failures_in_one_sentence(self.url):
                response = self.client.get("/readyz", timeout=PROBE_TIMEOUT_S)
        except CallFailed as failure:
            return False, f"{failure.message} ({failure.__cause__})"
        said = Readiness()
        with suppress(msgspec.DecodeError):
            said = msgspec.json.decode(response.content, type=Readiness)
        return response.status_code == httpx.codes.OK, str(said)

    def chat(self) -> str:
        """One whole answer."""
        with failures_in_one_sentence(self.url):
            response = self.client.post(CHAT, json=self._body(), headers=self._headers())
        if response.status_code != httpx.codes.OK:
            raise refusal(response.status_code, response.content)
        self._note(response)
        try:
            answer = msgspec.json.decode(response.content, type=Answer)
            choice = answer.choices[0]
        except (msgspec.DecodeError, IndexError) as error:
            raise CallFailed(f"The answer could not be read: {error}") from error
        said = choice.message.content or choice.message.reasoning_content
        if not said or not choice.finish_reason or not answer.usage.completion_tokens:
            raise CallFailed("The answer lacks text, a finish reason or its usage.")
        self.tokens += answer.usage.completion_tokens
        return f"{answer.usage.completion_tokens} tokens: {shortened(said)}"

    def stream(self) -> str:
        """One streamed answer, to its end."""
        started = time.monotonic()
        arrivals: list[float] = []
        finish = None
        for chunk in self._chunks():
            if chunk.piece:
                arrivals.append(time.monotonic() - started)
            finish = next((c.finish_reason for c in chunk.choices if c.finish_reason), finish)
            self.tokens += chunk.usage.completion_tokens if chunk.usage else 0
        if not arrivals or not finish:
            raise CallFailed("The stream ended without text or without a finish reason.")
        return f"{len(arrivals)} pieces, the first after {arrivals[0] * 1000:.0f} ms"

    def _chunks(self) -> Iterator[Any]:
        body = {**self._body(), "stream": True, "stream_options": {"include_usage": True}}
        with (
            failures_in_one_sentence(self.url),
            self.client.stream("POST", CHAT, json=body, headers=self._headers()) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise refusal(response.status_code, response.read())
            self._note(response)
            payload = b""
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                payload = line.removeprefix("data:").strip().encode()
                if payload != DONE:
                    yield read_chunk(payload)
        if payload != DONE:
            raise CallFailed("The stream ended without [DONE].")

    def trace_header(self) -> str:
        """Every answer so far told the trace that the call came with."""
        if not self.traceresponses:
            raise CallFailed("There was no answer to look at.")
        for value in self.traceresponses:
            match = TRACERESPONSE.fullmatch(value or "")
            if match is None:
                raise CallFailed(f"An answer has no valid traceresponse header: {value}")
            if match[1] != self.trace_id:
                raise CallFailed(f"traceresponse is of another trace than the call: {value}")
        return f"traceresponse {self.traceresponses[-1]}"

    def metrics(self) -> str:
        """They tell that it is ready, and count at least what was asked here."""
        with failures_in_one_sentence(self.url):
            response = self.client.get("/metrics")
        if response.status_code != httpx.codes.OK:
            raise refusal(response.status_code, response.content)
        samples = read_samples(response.text)
        if total(samples, "r3mes_phase", phase="ready") != 1:
            raise CallFailed("r3mes_phase does not say ready.")
        requests = total(samples, "r3mes_requests_total", route=CHAT, status="200")
        tokens = total(samples, "r3mes_tokens_total", kind="generated")
        if requests < self.calls or tokens < self.tokens:
            raise CallFailed(
                f"{requests:g} requests and {tokens:g} tokens are counted, "
                f"and this check-up alone had {self.calls} and {self.tokens}."
            )
        return f"{len(samples)} samples; {requests:g} chats and {tokens:g} tokens counted"

    def _body(self) -> dict[str, Any]:
        self.model = self.model or served_model(self.client)
        messages = [{"role": "user", "content": QUESTION}]
        return {"model": self.model, "messages": messages, "max_tokens": MAX_TOKENS}

    def _headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id}-{secrets.token_hex(8)}-00"}

    def _note(self, response: httpx.Response) -> None:
        self.calls += 1
        self.traceresponses.append(response.headers.get("traceresponse"))


def read_samples(text: str) -> list[Sample]:
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as error:
        raise CallFailed(f"/metrics could not be read: {error}") from error
    return [sample for family in families for sample in family.samples]


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of the samples with this name and at least these labels."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def shortened(text: str, *, to: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= to else f"{line[:to]}…"
