"""What telemetry needs to know of one finished request, in plain values."""

from dataclasses import dataclass
from typing import Literal

Operation = Literal["chat", "text_completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The ids of a request's first span, known from its start."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    sampled: bool
    parent_id: str | None = None  # span of the caller
    tracestate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReport:
    """Times are seconds of `time.monotonic()`, but `started_ns`, which anchors them to the wall.

    `operation` is None for a request that generates nothing. The engine's stamps are the earliest
    of the choices, `finished` the latest; each is None when that did not happen.
    """

    trace: Trace
    request_id: str
    key_id: str | None
    method: str
    route: str | None  # template; None when no route matched
    status: int
    error_type: str | None
    started: float
    started_ns: int
    ended: float
    operation: Operation | None
    model: str | None
    response_id: str | None
    stream: bool
    params: dict[str, object]
    finish_reasons: tuple[str, ...]
    choices: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    unknown_fields: int
    queued: float | None
    scheduled: float | None
    first_token: float | None
    finished: float | None
    first_chunk: float | None

    @property
    def succeeded(self) -> bool:
        return self.status < 400 and self.error_type is None

    @property
    def seconds(self) -> float:
        return self.ended - self.started
