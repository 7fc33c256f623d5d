"""The page that a scrape gets: the registry and a snapshot, under our names and those of others.

Dashboards and autoscalers look for `gen_ai_*` and `vllm:*`; each such metric is a view of a number
that is kept once. Knows no socket.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as open_exposition
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.samples import Exemplar

from r3mes import __version__
from r3mes.telemetry import names
from r3mes.telemetry.metrics import Cells, Labels, ReplicaMetrics, Snapshot
from r3mes.telemetry.names import INSTRUMENTS, Instrument

PHASES = ("starting", "loading", "warming", "ready", "draining", "failed")
PROVIDER = "r3mes"
WAITING = "In the engine's line."
RUNNING = "In the engine's batch."
PREEMPTED = "Sequences put back in the line."


@dataclass(frozen=True)
class View:
    """`name` shows the series of `source` that `keep` wants, grouped by what it returns."""

    name: str
    source: Instrument
    keep: Callable[[Labels], Labels | None] = lambda labels: ()
    labels: tuple[str, ...] = ()
    text: str = ""  # what it shows, where the source's own words do not say

    @property
    def help(self) -> str:
        text = self.text or self.source.help
        if self.name == self.source.name:
            return text
        shown = "_total" if self.source.kind == "counter" else ""
        return f"{text} A view of {self.source.name}{shown}."


def _without_error(labels: Labels) -> Labels | None:
    return () if not labels[1] else None


def _of_kind(kind: str) -> Callable[[Labels], Labels | None]:
    return lambda labels: () if labels == (kind,) else None


def _finish_of_success(labels: Labels) -> Labels | None:
    _, status, finish = labels
    return (finish,) if status == "200" and finish else None


TOLD = "tokens of the usage that clients were told."
VIEWS = (
    View(
        "vllm:e2e_request_latency_seconds",
        names.DURATION,
        _without_error,
        text="Time from the request to the end of a successful answer.",
    ),
    View("vllm:time_to_first_token_seconds", names.TTFT),
    View("vllm:request_time_per_output_token_seconds", names.TPOT),
    View("vllm:iteration_tokens_total", names.STEP_TOKENS),
    View("vllm:prompt_tokens", names.TOKENS, _of_kind("prompt"), text=f"Prompt {TOLD}"),
    View("vllm:generation_tokens", names.TOKENS, _of_kind("generated"), text=f"Generated {TOLD}"),
    View(
        "vllm:request_success",
        names.REQUESTS,
        _finish_of_success,
        ("finished_reason",),
        text="Successful generations by why they ended.",
    ),
)


def render(metrics: ReplicaMetrics, snapshot: Snapshot, *, open_format: bool) -> tuple[bytes, str]:
    """The whole page and its content type; only the open format can carry exemplars."""
    page = Page(metrics, snapshot)
    if open_format:
        # Escaped as "underscores" the exposition would turn the colon of `vllm:` into one.
        text: bytes = open_exposition.generate_latest(page, ALLOWUTF8)  # type: ignore[no-untyped-call]
        return text, open_exposition.CONTENT_TYPE_LATEST
    return generate_latest(page), CONTENT_TYPE_PLAIN_0_0_4


class Page:
    def __init__(self, metrics: ReplicaMetrics, snapshot: Snapshot) -> None:
        self._metrics = metrics
        self._now = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._totals()
        yield from self._others_gauges()
        for instrument in INSTRUMENTS.values():
            own = View(instrument.name, instrument, lambda labels: labels, instrument.labels)
            yield self._view(own)
        for view in VIEWS:
            yield self._view(view)

    def _gauges(self) -> Iterator[Metric]:
        now = self._now
        of_model = {"model": now.model}
        yield gauge("r3mes_requests_waiting", WAITING, now.waiting, **of_model)
        yield gauge("r3mes_requests_running", RUNNING, now.running, **of_model)
        yield gauge("r3mes_capacity", "Sequences in one batch.", now.capacity, **of_model)
        age = now.heartbeat_age
        yield gauge("r3mes_build_info", "Always 1.", 1, version=__version__)
        yield gauge("r3mes_compute_info", "What computes; always 1.", 1, **now.compute)
        started = now.started_at
        yield gauge("r3mes_start_time_seconds", "Start of this process, since the epoch.", started)
        yield gauge("r3mes_engine_heartbeat_age_seconds", "Since the engine last reported.", age)
        phases = {phase: float(phase == now.phase) for phase in PHASES}
        yield gauges("r3mes_phase", "One of them is 1.", "phase", phases)
        yield gauges("r3mes_phase_seconds", "The cold start.", "phase", now.phase_seconds)
        blocks = {"free": now.blocks_free, "used": now.blocks_used, "cached": now.blocks_cached}
        yield gauges("r3mes_kv_blocks", "Blocks of the KV cache.", "state", blocks)

    def _totals(self) -> Iterator[Metric]:
        now = self._now
        prefix = {"hit": now.prefix_hits, "miss": now.prefix_misses}
        yield totals("r3mes_prefix_tokens", "Prompt tokens by prefix cache.", "result", prefix)
        evicted = {"no_blocks": now.preemptions}
        yield totals("r3mes_preemptions", PREEMPTED, "reason", evicted)
        yield totals("r3mes_draft_tokens", "Tokens guessed ahead.", "result", now.drafts)
        yield totals("r3mes_aborts", "Sequences ended before their end.", "reason", now.aborts)
        yield total("r3mes_prompt_chunks", "Prompt parts that did not finish it.", now.chunks)

    def _others_gauges(self) -> Iterator[Metric]:
        now = self._now
        model = {"model_name": now.model}
        blocks = now.blocks_free + now.blocks_cached + now.blocks_used
        usage = now.blocks_used / blocks if blocks else 0.0
        yield gauge("vllm:num_requests_running", RUNNING, now.running, **model)
        yield gauge("vllm:num_requests_waiting", WAITING, now.waiting, **model)
        yield gauge("vllm:kv_cache_usage_perc", "Share of used blocks, 0 to 1.", usage, **model)
        sizes = {"block_size": str(now.block_size), "num_gpu_blocks": str(blocks)}
        yield gauge("vllm:cache_config_info", "Shape of the KV cache.", 1, **model, **sizes)
        asked = now.prefix_hits + now.prefix_misses
        yield total("vllm:prefix_cache_queries", "Prompt tokens looked up.", asked, **model)
        yield total("vllm:prefix_cache_hits", "Prompt tokens found.", now.prefix_hits, **model)
        yield total("vllm:num_preemptions", PREEMPTED, now.preemptions, **model)

    def _view(self, view: View) -> Metric:
        constant = self._constant(view.name)
        labels = [*view.labels, *constant]
        if view.source.kind == "counter":
            counted = CounterMetricFamily(view.name, view.help, labels=labels)
            for key, value in self._counted(view).items():
                counted.add_metric([*key, *constant.values()], value)
            return counted
        observed = HistogramMetricFamily(view.name, view.help, labels=labels)
        for key, cells in self._observed(view).items():
            shown = buckets(view.source.buckets, cells)
            observed.add_metric([*key, *constant.values()], shown, cells.total)
        return observed

    def _constant(self, name: str) -> dict[str, str]:
        """Labels that others' conventions ask of every series; a replica has one model."""
        if name.startswith("gen_ai_"):
            return {"gen_ai_provider_name": PROVIDER, "gen_ai_request_model": self._now.model}
        return {"model_name": self._now.model} if name.startswith("vllm:") else {}

    def _counted(self, view: View) -> dict[Labels, float]:
        sums: dict[Labels, float] = {} if view.labels else {(): 0.0}
        for labels, value in self._metrics.counters[view.source.name].items():
            key = view.keep(labels)
            if key is not None:
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def _observed(self, view: View) -> dict[Labels, Cells]:
        empty = [0] * (len(view.source.buckets) + 1)
        sums: dict[Labels, Cells] = {} if view.labels else {(): Cells(empty)}
        for labels, cells in self._metrics.histograms[view.source.name].items():
            key = view.keep(labels)
            if key is not None:
                sums.setdefault(key, Cells(empty)).add(cells)
        return sums


def gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def total(name: str, text: str, value: float, **labels: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def totals(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def buckets(
    bounds: tuple[float, ...], cells: Cells
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Cumulative counts, each with the newest trace that fell into it."""
    shown: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    running = 0
    for index, count in enumerate(cells.counts):
        running += count
        bound = str(float(bounds[index])) if index < len(bounds) else "+Inf"
        seen = cells.seen.get(index)
        if seen is None:
            shown.append((bound, running))
        else:
            exemplar = Exemplar({"trace_id": seen.trace_id}, seen.value, seen.at)
            shown.append((bound, running, exemplar))
    return shown
