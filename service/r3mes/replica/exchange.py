"""The record of one HTTP exchange: filled while it runs, read once when it ends.

Edge makes it and ends it, routes write what they learn, telemetry reads it. Knows none of them.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from r3mes.engine.messages import Stamps

KEY = "exchange"


@dataclass(slots=True)
class Exchange:
    """Mutable, owned by whoever answers the request.

    Edge writes the first block and `status`; telemetry's start hook writes the ids of the span;
    routes write the rest. `stamps` and `finish_reasons` stand at the index of their choice.
    """

    request_id: str
    method: str
    path: str
    route: str | None = None  # template of the route that answered; None when none matched
    started: float = field(default_factory=time.monotonic)
    started_ns: int = field(default_factory=time.time_ns)  # wall time, for spans
    traceparent: str | None = None  # only a well-formed one
    tracestate: str | None = None
    rehearsal: bool = False  # a worker's own, before it is ready: needs no key and no admission
    kept: bool = False  # the connection had an answer before this one
    status: int | None = None  # 499 when the client left before the end
    error_type: str | None = None  # code of the error that was answered

    trace_id: str | None = None  # 32 hex digits
    span_id: str | None = None  # 16 hex digits
    sampled: bool = False
    key_id: str | None = None  # which key called, never the key

    response_id: str | None = None
    model: str | None = None  # as served, never as asked for
    stream: bool = False
    params: dict[str, Any] = field(default_factory=dict)  # max_tokens, temperature, ... for spans
    finish_reasons: list[str | None] = field(default_factory=list)
    stamps: list[Stamps | None] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    unknown_fields: int = 0
    first_chunk: float | None = None  # monotonic; when the first text left


def exchange_of(scope: Any) -> Exchange:
    """The record of this request; `scope` is an ASGI scope (`request.scope`)."""
    exchange = scope["state"][KEY]
    assert isinstance(exchange, Exchange)  # noqa: S101 - narrows what ASGI leaves untyped
    return exchange
