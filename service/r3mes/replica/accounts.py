"""Turns the record of an exchange into what telemetry and the supervisor are told of it.

Owns the trace of each running request and the count of requests in flight. Knows no route.
"""

import time
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import Headers

from r3mes.engine.messages import Measurement, Stamps
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.exchange import Exchange
from r3mes.replica.probes import PATHS as PROBES
from r3mes.telemetry import names
from r3mes.telemetry.logs import log_request
from r3mes.telemetry.report import Operation, RequestReport, Trace
from r3mes.telemetry.requests import Change, changes
from r3mes.telemetry.tracing import Tracing

OPERATIONS: dict[str, Operation] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
}


class Accounts:
    """The two hooks of Edge. Probes and scrapes are not accounted for."""

    def __init__(self, engine: EngineClient, tracing: Tracing) -> None:
        self._engine = engine
        self._tracing = tracing
        self._traces: dict[int, Trace] = {}  # by identity of the exchange

    def begin(self, exchange: Exchange, headers: Headers) -> None:
        if exchange.path in PROBES:
            return
        trace = self._tracing.begin(
            traceparent=exchange.traceparent, tracestate=exchange.tracestate
        )
        self._engine.in_flight += 1
        if self._engine.is_closed:  # the supervisor may take the replica for idle
            self._engine.measured([])
        self._traces[id(exchange)] = trace
        exchange.trace_id, exchange.span_id = trace.trace_id, trace.span_id
        exchange.sampled = trace.sampled

    def end(self, exchange: Exchange) -> None:
        """Runs before the last bytes are written, so whoever saw the end finds it counted."""
        trace = self._traces.pop(id(exchange), None)
        if trace is None:
            return
        self._engine.in_flight -= 1
        found: list[Change] = []
        try:
            report = report_of(exchange, trace, ended=time.monotonic())
            found += changes(report)
            dropped = self._tracing.end(report)
            if dropped:
                found.append(Change(names.SPANS_DROPPED, (), dropped))
            log_request(report)
        finally:  # whatever fails, nobody waits for a request that has ended
            self._engine.measured([measurement(change) for change in found])


def measurement(change: Change) -> Measurement:
    return Measurement(
        change.instrument.name, change.labels, change.value, change.weight, change.trace_id
    )


def report_of(exchange: Exchange, trace: Trace, *, ended: float) -> RequestReport:
    stamps = [stamp for stamp in exchange.stamps if stamp is not None]
    return RequestReport(
        trace=trace,
        request_id=exchange.request_id,
        key_id=exchange.key_id,
        method=exchange.method,
        route=exchange.route,
        status=exchange.status or 500,
        error_type=exchange.error_type,
        started=exchange.started,
        started_ns=exchange.started_ns,
        ended=ended,
        operation=operation_of(exchange),
        model=exchange.model,
        response_id=exchange.response_id,
        stream=exchange.stream,
        params=exchange.params,
        finish_reasons=tuple(reason for reason in exchange.finish_reasons if reason),
        choices=max(1, len(exchange.stamps)),
        prompt_tokens=exchange.prompt_tokens,
        cached_tokens=exchange.cached_tokens,
        completion_tokens=exchange.completion_tokens,
        unknown_fields=exchange.unknown_fields,
        queued=earliest(stamp.queued for stamp in stamps),
        scheduled=earliest(stamp.scheduled for stamp in stamps),
        first_token=earliest(stamp.first_token for stamp in stamps),
        finished=latest(stamps),
        first_chunk=exchange.first_chunk,
    )


def operation_of(exchange: Exchange) -> Operation | None:
    """What was asked of the model; nothing where the method or the model does not exist."""
    if exchange.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return None
    return OPERATIONS.get(exchange.route or "")


def earliest(moments: Iterable[float | None]) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)


def latest(stamps: list[Stamps]) -> float | None:
    """The end of the last choice; None while one has none."""
    ends = [stamp.finished for stamp in stamps if stamp.finished is not None]
    return max(ends) if ends and len(ends) == len(stamps) else None
