"""The supervisor's meeting point and the drain over it, with sockets for workers and engine."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from r3mes.engine import messages
from r3mes.engine.messages import (
    HUB_SOCKET,
    AbortWorker,
    EngineReport,
    EngineStats,
    Flush,
    Flushed,
    Measurement,
    Measurements,
    Message,
    ReplicaState,
    Scrape,
    Scraped,
    WorkerHello,
    encode,
)
from r3mes.replica import drain as drains
from r3mes.replica import hub as hubs
from r3mes.replica.drain import drain
from r3mes.replica.hub import Hub
from r3mes.replica.link import Link
from r3mes.telemetry.metrics import ReplicaMetrics

PATIENCE_S = 10
READY = EngineReport(
    at=0.0,
    phase="ready",
    progress=1.0,
    detail="serving",
    stats=EngineStats(),
    steps=[],
    phase_seconds={},
    model=None,
    warm_ttft=0.1,
)


class Peer:
    """A worker or the engine, as far as the hub sees."""

    def __init__(self, context: zmq.Context[Any], folder: Path, name: str, decoder: Any) -> None:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, name.encode())
        socket.connect(f"ipc://{folder / HUB_SOCKET}")
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self._link = Link(socket, lambda frames: self.heard.put_nowait(decoder.decode(frames[-1])))

    def say(self, message: Message) -> None:
        self._link.post(encode(message))

    async def next_of(self, kind: type, **attributes: object) -> Any:
        """The next message of that kind with these attributes; others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await self.heard.get()
                same = all(getattr(message, name, None) == it for name, it in attributes.items())
                if isinstance(message, kind) and same:
                    return message

    def close(self) -> None:
        self._link.close()


class Stage:
    """A hub that waits for two workers, with both of them and an engine."""

    def __init__(self, folder: Path) -> None:
        self.failures: asyncio.Queue[str] = asyncio.Queue()
        self.hub = Hub(
            folder,
            workers=2,
            metrics=ReplicaMetrics(),
            on_state=lambda state: None,
            on_worker_failure=self.failures.put_nowait,
        )
        self._context = zmq.Context()
        self.engine = Peer(self._context, folder, "engine", messages.to_engine)
        self.first, self.second = (
            Peer(self._context, folder, name, messages.from_hub) for name in ("w1", "w2")
        )

    async def become_ready(self) -> None:
        for pid, worker in ((1, self.first), (2, self.second)):
            worker.say(WorkerHello(f"w{pid}", pid, ready=True))
        self.engine.say(READY)
        for worker in (self.first, self.second):
            await worker.next_of(ReplicaState, phase="ready")

    def close(self) -> None:
        for peer in (self.engine, self.first, self.second):
            peer.close()
        self._context.term()
        self.hub.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="r3mes-") as name:
        made = Stage(Path(name))
        await made.become_ready()
        yield made
        made.close()


async def test_the_streams_of_a_worker_that_is_gone_are_aborted_in_the_engine(
    stage: Stage,
) -> None:
    stage.hub.worker_exited(2)

    assert AbortWorker("w2") == await stage.engine.next_of(AbortWorker)


async def test_a_worker_that_cannot_serve_is_told_to_the_supervisor(stage: Stage) -> None:
    stage.first.say(WorkerHello("w1", 1, ready=False, failure="the reason"))

    async with asyncio.timeout(PATIENCE_S):
        assert "the reason" == await stage.failures.get()


async def test_a_scrape_waits_until_every_worker_has_told_what_it_counted(stage: Stage) -> None:
    stage.first.say(Scrape(7, openmetrics=False))
    flush = await stage.second.next_of(Flush)

    stage.second.say(Measurements([Measurement("r3mes_unknown_fields", (), 3)], in_flight=0))
    stage.second.say(Flushed(flush.ticket))
    page = await stage.first.next_of(Scraped)

    assert 7 == page.ticket
    assert b"r3mes_unknown_fields_total 3.0" in page.text


async def test_a_message_that_cannot_be_taken_takes_no_other_with_it(stage: Stage) -> None:
    stage.first.say(Measurements([Measurement("unknown", (), 1)], in_flight=0))
    stage.first.say(Scrape(7, openmetrics=False))

    assert await stage.first.next_of(Scraped)


async def test_a_scrape_does_not_wait_for_ever_for_a_worker_that_hangs(stage: Stage) -> None:
    stage.first.say(Scrape(7, openmetrics=False))

    assert b"r3mes_unknown_fields_total 0.0" in (await stage.first.next_of(Scraped)).text


async def test_a_message_that_cannot_be_read_is_passed_over(stage: Stage) -> None:
    stage.first._link.send(b"nonsense")
    stage.first.say(Scrape(7, openmetrics=False))

    assert await stage.first.next_of(Scraped)


async def test_a_drain_ends_when_every_worker_has_said_that_it_is_idle(stage: Stage) -> None:
    draining = asyncio.create_task(drain(stage.hub, linger_s=0.01, timeout_s=60))
    for worker, in_flight in ((stage.first, 1), (stage.second, 0)):
        await worker.next_of(ReplicaState, phase="draining", lingering=False)
        worker.say(Measurements([], in_flight, closed=True))
    await all_heard(stage)
    assert not draining.done()

    stage.first.say(Measurements([], in_flight=0, closed=True))

    async with asyncio.timeout(PATIENCE_S):
        await draining


async def all_heard(stage: Stage) -> None:
    """What was said before has been heard."""
    for peer in (stage.first, stage.second):
        peer.say(Scrape(7, openmetrics=False))
        await peer.next_of(Scraped)


async def test_a_worker_that_counted_before_it_knew_the_end_of_the_linger_is_not_believed(
    stage: Stage,
) -> None:
    draining = asyncio.create_task(drain(stage.hub, linger_s=0.01, timeout_s=60))
    await stage.first.next_of(ReplicaState, phase="draining", lingering=False)
    for worker in (stage.first, stage.second):
        worker.say(Measurements([], in_flight=0))
    await all_heard(stage)
    assert not draining.done()

    for worker in (stage.first, stage.second):
        worker.say(Measurements([], in_flight=0, closed=True))

    async with asyncio.timeout(PATIENCE_S):
        await draining


async def test_a_drain_whose_time_is_over_cuts_and_does_not_wait_for_a_worker_that_hangs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drains, "CUT_S", 0.1)

    async with asyncio.timeout(PATIENCE_S):
        await drain(stage.hub, linger_s=0, timeout_s=0.1)

    await stage.first.next_of(ReplicaState, cut=True)


async def test_a_worker_that_dies_in_a_drain_is_not_waited_for(stage: Stage) -> None:
    draining = asyncio.create_task(drain(stage.hub, linger_s=0, timeout_s=60))
    await stage.first.next_of(ReplicaState, phase="draining")
    stage.first.say(Measurements([], in_flight=0, closed=True))

    stage.hub.worker_exited(2)

    async with asyncio.timeout(PATIENCE_S):
        await draining


async def test_a_hello_read_after_the_exit_of_its_worker_does_not_bring_it_back(
    stage: Stage,
) -> None:
    stage.hub.worker_exited(2)
    stage.second.say(WorkerHello("w2", 2, ready=False, failure="its last word"))
    async with asyncio.timeout(PATIENCE_S):
        assert "its last word" == await stage.failures.get()

    draining = asyncio.create_task(drain(stage.hub, linger_s=0, timeout_s=60))
    await stage.first.next_of(ReplicaState, phase="draining")
    stage.first.say(Measurements([], in_flight=0, closed=True))

    async with asyncio.timeout(PATIENCE_S):
        await draining


async def test_a_pid_that_comes_back_later_is_a_worker_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "GONE_S", 0.0)
    stage.hub.worker_exited(2)
    stage.second.say(WorkerHello("w2", 2, ready=True))

    draining = asyncio.create_task(drain(stage.hub, linger_s=0, timeout_s=60))

    await stage.second.next_of(ReplicaState, phase="draining")
    for worker in (stage.first, stage.second):
        worker.say(Measurements([], in_flight=0, closed=True))
    async with asyncio.timeout(PATIENCE_S):
        await draining
