"""The one registry of a replica: what was counted and observed, exactly, in one place.

Lives in the supervisor, on its loop. Knows neither who measures nor how it is shown.
"""

import bisect
import time
from dataclasses import dataclass, field

from r3mes.telemetry import names
from r3mes.telemetry.names import INSTRUMENTS, Instrument

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """The state of the replica at the moment of a scrape. Counters are running totals."""

    model: str
    compute: dict[str, str]  # the path, its instructions, types of weights and of the KV cache
    started_at: int  # seconds since the epoch
    phase: str
    phase_seconds: dict[str, float]
    heartbeat_age: float
    waiting: int
    running: int
    capacity: int
    blocks_free: int
    blocks_used: int
    blocks_cached: int
    block_size: int
    prefix_hits: int
    prefix_misses: int
    chunks: int
    preemptions: int
    drafts: dict[str, int]
    aborts: dict[str, int]


@dataclass(frozen=True)
class Seen:
    """One observation that a trace can explain."""

    trace_id: str
    value: float
    at: float


@dataclass
class Cells:
    """One histogram series; the last count is that of values above every bucket."""

    counts: list[int]
    total: float = 0.0
    seen: dict[int, Seen] = field(default_factory=dict)  # newest of each bucket

    def add(self, other: "Cells") -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.seen |= other.seen


class ReplicaMetrics:
    def __init__(self) -> None:
        self.counters: dict[str, dict[Labels, float]] = {
            each.name: dict.fromkeys(each.series, 0.0)
            for each in INSTRUMENTS.values()
            if each.kind == "counter"
        }
        self.histograms: dict[str, dict[Labels, Cells]] = {
            each.name: {} for each in INSTRUMENTS.values() if each.kind == "histogram"
        }

    def apply(
        self, name: str, labels: Labels, value: float, *, weight: int = 1, trace_id: str = ""
    ) -> None:
        """Add `value` to a counter, or observe it `weight` times."""
        instrument = INSTRUMENTS[name]
        if instrument.kind == "counter":
            series = self.counters[name]
            series[labels] = series.get(labels, 0.0) + value
        else:
            self._observe(instrument, labels, value, weight=weight, trace_id=trace_id)

    def record_step(self, kind: str, seconds: float, tokens: int) -> None:
        self.apply(names.STEP_SECONDS.name, (kind,), seconds)
        self.apply(names.STEP_TOKENS.name, (kind,), tokens)

    def _observe(
        self, instrument: Instrument, labels: Labels, value: float, *, weight: int, trace_id: str
    ) -> None:
        series = self.histograms[instrument.name]
        cells = series.get(labels)
        if cells is None:
            cells = series[labels] = Cells([0] * (len(instrument.buckets) + 1))
        bucket = bisect.bisect_left(instrument.buckets, value)
        cells.counts[bucket] += weight
        cells.total += value * weight
        if trace_id:
            cells.seen[bucket] = Seen(trace_id, value, time.time())
