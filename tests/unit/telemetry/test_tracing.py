"""Who samples, and what becomes of spans that cannot be sent."""

import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from r3mes.settings import TelemetrySettings
from r3mes.telemetry import spans
from r3mes.telemetry.report import Trace
from r3mes.telemetry.spans import Shipment
from r3mes.telemetry.tracing import Tracing

CALLER = f"00-{'a' * 32}-{'b' * 16}"


def begin(traceparent: str | None = None, **settings: object) -> Trace:
    chosen = TelemetrySettings(**{"otlp_endpoint": "http://127.0.0.1:9", **settings})
    tracing = Tracing(chosen, version="1", replica="r")
    try:
        return tracing.begin(traceparent=traceparent, tracestate=None)
    finally:
        tracing.close()


def test_a_callers_trace_is_continued_below_its_span() -> None:
    trace = begin(f"{CALLER}-01", sample_ratio=0)

    assert ("a" * 32, "b" * 16) == (trace.trace_id, trace.parent_id)
    assert "b" * 16 != trace.span_id


def test_without_a_caller_a_trace_begins() -> None:
    trace, other = begin(), begin()

    assert (32, 16, None) == (len(trace.trace_id), len(trace.span_id), trace.parent_id)
    assert trace.trace_id != other.trace_id


@pytest.mark.parametrize(
    ("flags", "settings", "sampled"),
    [
        ("01", {"sample_ratio": 0}, False),
        ("00", {"sample_ratio": 1}, True),
        ("01", {"sample_ratio": 0, "trust_parent": True}, True),
        ("00", {"sample_ratio": 1, "trust_parent": True}, False),
        ("01", {"sample_ratio": 1, "trust_parent": True, "otlp_endpoint": None}, False),
    ],
)
def test_a_strangers_flag_decides_nothing_and_a_trusted_ones_everything(
    flags: str, settings: dict[str, object], sampled: bool
) -> None:
    assert sampled == begin(f"{CALLER}-{flags}", **settings).sampled


def test_nothing_is_sampled_without_a_collector() -> None:
    assert not begin(otlp_endpoint=None, sample_ratio=1).sampled


class Exporter(SpanExporter):
    """Lets nothing through until it is opened, then fails."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        self.opened.wait(30)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.opened.set()


def test_spans_that_do_not_fit_or_do_not_arrive_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans, "MOST_QUEUED", 2)
    monkeypatch.setattr(spans, "DELAY_S", 60)
    shipment = Shipment(Exporter())
    for _ in range(5):
        shipment.on_end(ReadableSpan("s"))
    assert 3 == shipment.take_dropped()

    monkeypatch.setattr(spans, "FLUSH_S", 0.1)
    shipment.shutdown()
    shipment._thread.join(10)

    assert 2 == shipment.take_dropped()
    assert 0 == shipment.take_dropped()


def test_a_collector_that_hangs_cannot_eat_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "FLUSH_S", 0.1)
    shipment = Shipment(Exporter())
    shipment.on_end(ReadableSpan("s"))

    began = time.monotonic()
    shipment.shutdown()

    assert 10 > time.monotonic() - began
    shipment._thread.join(10)
