"""The meeting point of a replica: engine and API workers report here, the state goes out from here.

Owns the socket, the status, the list of workers and the metrics. Knows no process, no HTTP.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import zmq

from r3mes.engine.messages import (
    ENGINE,
    HUB_SOCKET,
    AbortWorker,
    Compute,
    EngineReport,
    Flush,
    Flushed,
    Measurements,
    Message,
    ModelInfo,
    ReplicaState,
    Scrape,
    Scraped,
    WorkerHello,
    encode,
    to_hub,
)
from r3mes.replica.link import Link
from r3mes.replica.status import Status
from r3mes.telemetry.metrics import ReplicaMetrics, Snapshot
from r3mes.telemetry.views import render

LEAST_GAP_S = 0.25  # between two states that differ in nothing but numbers
FLUSH_S = 0.25  # a scrape does not wait longer for a worker that hangs
GONE_S = 1.0  # what a dead worker still said may be read so long after its end; pids come back

log = logging.getLogger(__name__)


@dataclass
class Worker:
    pid: int
    ready: bool = False
    in_flight: int | None = None  # None: not known since the last change of the drain


@dataclass
class PendingScrape:
    worker: bytes
    question: Scrape
    waits_for: set[bytes]
    timer: asyncio.TimerHandle = field(repr=False)


class Hub:
    def __init__(
        self,
        folder: Path,
        *,
        workers: int,
        metrics: ReplicaMetrics,
        on_state: Callable[[ReplicaState], None],
        on_worker_failure: Callable[[str], None],
    ) -> None:
        self.status = Status(wanted=workers, started=time.monotonic(), started_at=int(time.time()))
        self._metrics = metrics
        self._on_state = on_state
        self._on_worker_failure = on_worker_failure
        self._workers: dict[bytes, Worker] = {}
        self._gone: dict[bytes, float] = {}  # when the workers of the last second ended
        self._scrapes: dict[int, PendingScrape] = {}
        self._tickets = itertools.count()
        self._idle: asyncio.Event = asyncio.Event()
        self._published = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        socket = self._context.socket(zmq.ROUTER)
        socket.bind(f"ipc://{folder / HUB_SOCKET}")
        self._link = Link(socket, self._receive)

    def close(self) -> None:
        for pending in self._scrapes.values():
            pending.timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._link.close()
        self._context.term()

    # What the supervisor tells.

    def fail(self, reason: str) -> None:
        """The replica cannot go on; workers answer what they have with `engine_crash`."""
        self.status.failure = reason
        self._forget_in_flight()

    def begin_drain(self, *, lingering: bool) -> None:
        self.status.draining, self.status.lingering = True, lingering
        self._forget_in_flight()

    def end_linger(self) -> None:
        self.status.lingering = False
        self._forget_in_flight()

    def cut(self) -> None:
        """What is unfinished ends now."""
        self.status.lingering, self.status.cut = False, True
        self._forget_in_flight()

    def worker_exited(self, pid: int) -> None:
        """Free what that worker held in the engine."""
        gone = [name for name, worker in self._workers.items() if worker.pid == pid]
        for name in gone:
            del self._workers[name]
            for pending in list(self._scrapes.values()):
                self._flushed(pending, name)
        self._bury(f"w{pid}".encode())
        self._send(ENGINE, AbortWorker(f"w{pid}"))
        self._count_workers()

    def _bury(self, name: bytes) -> None:
        """Its exit comes by another way than its words, which may thus still be on theirs."""
        now = self._loop.time()
        self._gone = {other: at for other, at in self._gone.items() if now - at < GONE_S}
        self._gone[name] = now

    def _is_gone(self, name: bytes) -> bool:
        return name in self._gone and self._loop.time() - self._gone[name] < GONE_S

    async def idle(self) -> None:
        """Return when no worker has a request in flight, as told since the drain last changed."""
        self._notice_idle()
        await self._idle.wait()

    @property
    def in_flight(self) -> int:
        return sum(worker.in_flight or 0 for worker in self._workers.values())

    # What the others tell.

    def _receive(self, frames: list[bytes]) -> None:
        sender, *payloads = frames
        for payload in payloads:
            try:
                self._take(sender, to_hub.decode(payload))
            except Exception:  # the others of the same turn are not to be lost with it
                log.exception("a message of %r cannot be taken", sender)

    def _take(self, sender: bytes, message: Message) -> None:
        match message:
            case EngineReport():
                self._take_report(message)
            case Measurements():
                self._take_measurements(sender, message)
            case WorkerHello():
                self._take_hello(sender, message)
            case Scrape():
                self._take_scrape(sender, message)
            case Flushed():
                pending = self._scrapes.get(message.ticket)
                if pending is not None:
                    self._flushed(pending, sender)

    def _take_report(self, report: EngineReport) -> None:
        before = self.status.where()
        self.status.report = report
        self.status.settle()
        for step in report.steps:
            self._metrics.record_step(step.kind, step.seconds, step.tokens)
        if self.status.where() != before:
            self.publish()
        elif self._timer is None:
            due = max(0.0, self._published + LEAST_GAP_S - self._loop.time())
            self._timer = self._loop.call_later(due, self.publish)

    def _take_hello(self, sender: bytes, hello: WorkerHello) -> None:
        if hello.failure is not None:
            self._on_worker_failure(hello.failure)
        if self._is_gone(sender):
            return
        worker = self._workers.setdefault(sender, Worker(hello.pid))
        worker.ready = hello.ready
        self._count_workers()
        self._send(sender, self.status.state())

    def _take_measurements(self, sender: bytes, message: Measurements) -> None:
        for item in message.items:
            self._metrics.apply(
                item.name, item.labels, item.value, weight=item.weight, trace_id=item.trace_id
            )
        worker = self._workers.get(sender)
        if worker is not None and message.closed >= self.status.closed:
            worker.in_flight = message.in_flight
            self._notice_idle()

    # Scrapes: every worker is asked first whether it has anything more to tell.

    def _take_scrape(self, sender: bytes, question: Scrape) -> None:
        ticket = next(self._tickets)
        timer = self._loop.call_later(FLUSH_S, self._answer_scrape, ticket)
        pending = PendingScrape(sender, question, {sender, *self._workers}, timer)
        self._scrapes[ticket] = pending
        for name in self._workers:
            self._send(name, Flush(ticket))
        self._flushed(pending, sender)  # it asked after all it had told

    def _flushed(self, pending: PendingScrape, worker: bytes) -> None:
        pending.waits_for.discard(worker)
        if pending.waits_for:
            return
        for ticket, other in list(self._scrapes.items()):
            if other is pending:
                self._answer_scrape(ticket)

    def _answer_scrape(self, ticket: int) -> None:
        pending = self._scrapes.pop(ticket)
        pending.timer.cancel()
        text, content_type = render(
            self._metrics,
            snapshot(self.status.state()),
            open_format=pending.question.openmetrics,
        )
        self._send(pending.worker, Scraped(pending.question.ticket, text, content_type))

    # What goes out.

    def publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._published = self._loop.time()
        state = self.status.state()
        for name in self._workers:
            self._send(name, state)
        self._on_state(state)

    def _count_workers(self) -> None:
        before = self.status.where()
        self.status.ready_workers = sum(worker.ready for worker in self._workers.values())
        self.status.settle()
        if self.status.where() != before:
            self.publish()
        self._notice_idle()

    def _forget_in_flight(self) -> None:
        """Every worker tells again how much it has in flight once it has seen the change."""
        for worker in self._workers.values():
            worker.in_flight = None
        self._idle.clear()
        self.publish()

    def _notice_idle(self) -> None:
        if all(worker.in_flight == 0 for worker in self._workers.values()):
            self._idle.set()
        else:
            self._idle.clear()

    def _send(self, receiver: bytes, message: Message) -> None:
        # A receiver that is gone or does not take any more loses the message; the next state heals.
        self._link.send(receiver, encode(message))


def snapshot(state: ReplicaState) -> Snapshot:
    """The state in telemetry's words."""
    stats = state.stats
    return Snapshot(
        model=state.model.name if state.model else "",
        compute=compute_labels(state.model),
        started_at=state.started_at,
        phase=cast("str", state.phase),
        phase_seconds=state.phase_seconds,
        heartbeat_age=max(0.0, time.monotonic() - state.heartbeat),
        waiting=stats.waiting,
        running=stats.running,
        capacity=stats.capacity,
        blocks_free=stats.blocks_free,
        blocks_used=stats.blocks_used,
        blocks_cached=stats.blocks_cached,
        block_size=stats.block_size,
        prefix_hits=stats.prefix_hits,
        prefix_misses=stats.prefix_misses,
        chunks=stats.chunks,
        preemptions=stats.preemptions,
        drafts=stats.drafts,
        aborts=stats.aborts,
    )


def compute_labels(model: ModelInfo | None) -> dict[str, str]:
    """What computes; all empty until that is known."""
    known = model.compute if model else Compute()
    return {
        "path": known.path,
        "instructions": known.instructions,
        "weights": known.weights,
        "kv": known.kv,
    }
