"""The trace of a request: its ids at the start, its spans at the end.

Who samples is decided here: a coin of our own, so that a stranger's header cannot make us trace,
or the caller's flag where settings trust it. Knows OpenTelemetry only by `spans`, which is loaded
when there is a collector to send to.
"""

import random
import secrets
from typing import Protocol

from r3mes.settings import TelemetrySettings
from r3mes.telemetry.report import RequestReport, Trace

SAMPLED_FLAG = 0x01


class SpanSink(Protocol):
    """Where spans of a finished request go."""

    def send(self, report: RequestReport) -> None: ...

    def take_dropped(self) -> int: ...

    def close(self) -> None: ...


class NoSpans:
    """The sink of a service without a collector."""

    def send(self, report: RequestReport) -> None:
        pass

    def take_dropped(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Tracing:
    """Make one in each process, after the fork: it may own a thread."""

    def __init__(self, settings: TelemetrySettings, *, version: str, replica: str) -> None:
        self._trust_parent = settings.trust_parent
        self._ratio = settings.sample_ratio if settings.otlp_endpoint else 0.0
        self._exports = settings.otlp_endpoint is not None
        self._sink = open_sink(settings.otlp_endpoint, version=version, replica=replica)

    def begin(self, *, traceparent: str | None, tracestate: str | None) -> Trace:
        """The ids of a new request; `traceparent` was checked for its form."""
        span_id = f"{secrets.randbits(64) or 1:016x}"
        if traceparent is None:
            trace_id = f"{secrets.randbits(128) or 1:032x}"
            return Trace(trace_id=trace_id, span_id=span_id, sampled=self._coin())
        _, trace_id, parent_id, flags = traceparent.split("-")[:4]
        asked = bool(int(flags, 16) & SAMPLED_FLAG) and self._exports
        sampled = asked if self._trust_parent else self._coin()
        return Trace(
            trace_id=trace_id,
            span_id=span_id,
            sampled=sampled,
            parent_id=parent_id,
            tracestate=tracestate,
        )

    def end(self, report: RequestReport) -> int:
        """Send the spans of a sampled request; returns how many spans were lost since last time."""
        if report.trace.sampled:
            self._sink.send(report)
        return self._sink.take_dropped()

    def close(self) -> None:
        self._sink.close()

    def _coin(self) -> bool:
        return random.random() < self._ratio  # noqa: S311 - a sample, not a secret


def open_sink(endpoint: str | None, *, version: str, replica: str) -> SpanSink:
    if endpoint is None:
        return NoSpans()
    from r3mes.telemetry.spans import OtlpSpans

    return OtlpSpans(endpoint, version=version, replica=replica)
