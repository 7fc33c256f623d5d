"""Which numbers a finished request changes. Pure: a report in, changes out."""

from collections.abc import Iterator
from typing import NamedTuple

from r3mes.errors import CLIENT_GONE
from r3mes.telemetry import names
from r3mes.telemetry.names import Instrument
from r3mes.telemetry.report import RequestReport


class Change(NamedTuple):
    """Added to a counter, or observed `weight` times by a histogram."""

    instrument: Instrument
    labels: tuple[str, ...]
    value: float
    weight: int = 1
    trace_id: str = ""


def changes(report: RequestReport) -> Iterator[Change]:
    finish = report.finish_reasons[0] if report.finish_reasons else ""
    route = report.route or "other"
    yield Change(names.REQUESTS, (route, str(report.status), finish), 1)
    if report.unknown_fields:
        yield Change(names.UNKNOWN_FIELDS, (), report.unknown_fields)
    if report.operation is not None:
        yield from _tokens(report)
        yield from _times(report)


def _tokens(report: RequestReport) -> Iterator[Change]:
    if report.status not in (200, CLIENT_GONE):
        return  # nothing was delivered
    yield Change(names.TOKENS, ("prompt",), report.prompt_tokens)
    yield Change(names.TOKENS, ("generated",), report.completion_tokens)
    if report.succeeded:
        yield Change(names.PROMPT_TOKENS, (), report.prompt_tokens)
        yield Change(names.OUTPUT_TOKENS, (), report.completion_tokens)
        allowed = report.params.get("max_tokens")
        if isinstance(allowed, int):
            yield Change(names.MAX_TOKENS, (), allowed)


def _times(report: RequestReport) -> Iterator[Change]:
    operation = report.operation or ""
    trace_id = report.trace.trace_id if report.trace.sampled else ""
    error = report.error_type or ("client_gone" if report.status == CLIENT_GONE else "")
    yield Change(names.DURATION, (operation, error), report.seconds, trace_id=trace_id)
    if not report.succeeded or report.first_token is None:
        return
    first = report.first_token
    yield Change(names.TTFT, (operation,), first - report.started, trace_id=trace_id)
    if report.queued is not None and report.scheduled is not None:
        yield Change(names.QUEUE, (), report.scheduled - report.queued)
        yield Change(names.PREFILL, (), first - report.scheduled)
    if report.finished is not None:
        yield Change(names.DECODE, (), report.finished - first)
        yield from _gaps(report, report.finished - first)


def _gaps(report: RequestReport, decode: float) -> Iterator[Change]:
    gaps = report.completion_tokens - report.choices
    if gaps > 0:
        mean = decode * report.choices / gaps  # choices run side by side
        yield Change(names.TPOT, (report.operation or "",), mean)
        yield Change(names.INTER_TOKEN, (), mean, weight=gaps)
