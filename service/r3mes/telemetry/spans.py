"""The spans of a finished request, made from its stamps and shipped to a collector.

The only module that knows OpenTelemetry. Never holds a request up: spans wait in a bounded queue
for a thread, and what does not fit or arrive is counted. No prompt, no answer, no key.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import AttributeValue

from r3mes.telemetry.report import RequestReport, Trace

MOST_QUEUED = 2048
BATCH = 512
DELAY_S = 1.0
EXPORT_S = 5.0  # with its retries
FLUSH_S = 3.0  # at the end; a dead collector must not eat the time of a drain
SAMPLED = TraceFlags(TraceFlags.SAMPLED)

log = logging.getLogger(__name__)


class Ids(RandomIdGenerator):
    """Random ids, but those of a request's first span, which were told before it began."""

    def __init__(self) -> None:
        self.announced: Trace | None = None

    def generate_span_id(self) -> int:
        announced, self.announced = self.announced, None
        return int(announced.span_id, 16) if announced else super().generate_span_id()

    def generate_trace_id(self) -> int:
        return int(self.announced.trace_id, 16) if self.announced else super().generate_trace_id()


class Shipment(SpanProcessor):
    """The queue and the thread that empties it."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._queue: deque[ReadableSpan] = deque()
        self._lost_in_queue = 0  # written by the request's thread
        self._lost_on_way = 0  # written by the shipping thread
        self._told = 0
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        if len(self._queue) >= MOST_QUEUED or self._closing:
            self._lost_in_queue += 1
            return
        self._queue.append(span)
        if len(self._queue) >= BATCH:
            self._wake.set()

    def take_dropped(self) -> int:
        """How many were lost since the last call."""
        lost = self._lost_in_queue + self._lost_on_way
        news, self._told = lost - self._told, lost
        return news

    def shutdown(self) -> None:
        """Ship what is left, for at most FLUSH_S."""
        self._closing = True
        self._wake.set()
        self._thread.join(FLUSH_S)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(DELAY_S)
            self._wake.clear()
            while self._queue:
                self._ship([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])

    def _ship(self, batch: list[ReadableSpan]) -> None:
        try:
            arrived = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the thread
            arrived = False
        if not arrived:
            self._lost_on_way += len(batch)
        if arrived == self._failing:
            self._failing = not arrived
            log.warning("the collector takes spans again" if arrived else "the collector is lost")


class OtlpSpans:
    def __init__(self, endpoint: str, *, version: str, replica: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # Shipment says it, once
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
        self._shipment = Shipment(exporter)
        self._ids = Ids()
        who = {
            "service.name": "r3mes",
            "service.version": version,
            "service.instance.id": replica,
        }
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # only what was sampled comes here
            resource=Resource.create(who),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._shipment)
        self._tracer = self._provider.get_tracer("r3mes", version, Schemas.V1_44_0.value)

    def send(self, report: RequestReport) -> None:
        self._ids.announced = report.trace
        server = self._tracer.start_span(
            f"{report.method} {report.route}" if report.route else report.method,
            context=caller(report.trace),
            kind=SpanKind.SERVER,
            attributes=dict(server_attributes(report)),
            start_time=report.started_ns,
        )
        if report.key_id is not None:
            server.add_event("auth", {"r3mes.key.id": report.key_id}, report.started_ns)
        if report.operation is not None and report.queued is not None:
            self._generation(report, inside(server))
        finish(server, report, at=report.ended)

    def take_dropped(self) -> int:
        return self._shipment.take_dropped()

    def close(self) -> None:
        self._provider.shutdown()

    def _generation(self, report: RequestReport, parent: Context) -> None:
        chat = self._tracer.start_span(
            f"{report.operation} {report.model}",
            context=parent,
            attributes=dict(generation_attributes(report)),
            start_time=wall(report, report.queued),
        )
        for name, began, ended in stages(report):
            span = self._tracer.start_span(
                name, context=inside(chat), start_time=wall(report, began)
            )
            span.end(wall(report, ended))
        finish(chat, report, at=report.finished or report.ended)


def stages(report: RequestReport) -> Iterator[tuple[str, float, float]]:
    """What the engine did, as (name, start, end); a stage that never began is left out."""
    end = report.finished or report.ended
    if report.queued is not None:
        yield "queue", report.queued, report.scheduled or end
    if report.scheduled is not None:
        yield "prefill", report.scheduled, report.first_token or end
    if report.first_token is not None:
        yield "decode", report.first_token, end


def server_attributes(report: RequestReport) -> Iterator[tuple[str, AttributeValue]]:
    yield "http.request.method", report.method
    yield "url.path", report.route or "other"
    yield "http.response.status_code", report.status
    yield "r3mes.request.id", report.request_id
    if report.route:
        yield "http.route", report.route


PARAMETERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}


def generation_attributes(report: RequestReport) -> Iterator[tuple[str, AttributeValue]]:
    yield "gen_ai.operation.name", str(report.operation)
    yield "gen_ai.provider.name", "r3mes"
    yield "gen_ai.request.model", str(report.model)
    yield "gen_ai.response.model", str(report.model)
    yield "gen_ai.request.stream", report.stream
    for name, attribute in PARAMETERS.items():
        value = report.params.get(name)
        if isinstance(value, (int, float)):
            yield attribute, value
    if report.choices > 1:
        yield "gen_ai.request.choice.count", report.choices
    if report.response_id is not None:
        yield "gen_ai.response.id", report.response_id
    if report.finish_reasons:
        yield "gen_ai.response.finish_reasons", report.finish_reasons
    if report.first_chunk is not None:
        yield "gen_ai.response.time_to_first_chunk", report.first_chunk - report.started
    yield "gen_ai.usage.input_tokens", report.prompt_tokens
    yield "gen_ai.usage.output_tokens", report.completion_tokens
    yield "gen_ai.usage.cache_read.input_tokens", report.cached_tokens


def finish(span: Span, report: RequestReport, *, at: float) -> None:
    if report.error_type is not None:
        span.set_attribute("error.type", report.error_type)
    if report.status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    span.end(wall(report, at))


def caller(trace: Trace) -> Context:
    """The context of whoever sent the request; an empty one starts a new trace."""
    if trace.parent_id is None:
        return Context()
    state = TraceState.from_header([trace.tracestate]) if trace.tracestate else None
    remote = SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, SAMPLED, state)
    return api.set_span_in_context(api.NonRecordingSpan(remote), Context())


def inside(span: Span) -> Context:
    return api.set_span_in_context(span, Context())


def wall(report: RequestReport, moment: float | None) -> int:
    """Monotonic seconds as nanoseconds since the epoch."""
    assert moment is not None  # noqa: S101 - callers ask only for what happened
    return report.started_ns + int((moment - report.started) * 1e9)
