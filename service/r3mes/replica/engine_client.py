"""A worker's side of the two sockets: jobs go to the engine, news come back, the state is at hand.

Knows no HTTP and no text. Everything runs on the worker's event loop; a delivery costs one wake of
each request that it has news for, and a token costs nothing here.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq

from r3mes.engine import messages
from r3mes.engine.messages import (
    ENGINE_SOCKET,
    HUB_SOCKET,
    Abort,
    AbortReason,
    Flush,
    Flushed,
    Measurement,
    Measurements,
    ReplicaState,
    Request,
    SamplingParams,
    Scrape,
    Scraped,
    Submit,
    Update,
    WorkerHello,
    encode,
)
from r3mes.errors import (
    DeadlineExceeded,
    EngineCrash,
    InternalError,
    ModelLoading,
    Overloaded,
    R3mesError,
    ShuttingDown,
)
from r3mes.replica.link import Link
from r3mes.settings import ProbeSettings

FIRST_STATE_S = 10  # the supervisor answers a hello at once, or it is gone
PATIENCE_STEPS = 3  # of the slowest length so far, in which an engine may be computing
SCRAPE_S = 2.0
OVERDUE_S = 1.0  # how long after a deadline the engine may stay silent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One choice to generate."""

    prompt: list[int]
    params: SamplingParams


class Generation:
    """The news of one request, in order; made by `EngineClient.generate`."""

    def __init__(
        self, first: int, count: int, *, abort: Callable[[list[int], AbortReason], None]
    ) -> None:
        self._first = first
        self._abort = abort
        self.unfinished = set(range(first, first + count))
        self._news: list[tuple[int, Update]] = []
        self._failure: R3mesError | None = None
        self._nudged = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> "Generation":
        return self

    async def __anext__(self) -> list[tuple[int, Update]]:
        """All that has arrived as (index of the job, update); nothing only after a nudge."""
        while not (self._news or self._nudged):
            if self._failure is not None:
                raise self._failure
            if not self.unfinished:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        news, self._news = self._news, []
        self._nudged = False
        return news

    def nudge(self) -> None:
        """Let whoever waits for news go on without any."""
        self._nudged = True
        self._wake()

    def stop(self, index: int) -> None:
        """Abort one job: its text has ended, though the engine cannot see why."""
        stream = self._first + index
        if stream in self.unfinished:
            self.unfinished.discard(stream)
            self._abort([stream], "stop_string")

    def take(self, update: Update) -> None:
        self._news.append((update.stream - self._first, update))
        if update.finish is not None:
            self.unfinished.discard(update.stream)
        self._wake()

    def fail(self, error: R3mesError) -> None:
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EngineClient:
    """`state` is the latest snapshot from the supervisor."""

    state: ReplicaState

    def __init__(self, folder: Path, *, worker: str, pid: int, probes: ProbeSettings) -> None:
        self.worker = worker
        self.in_flight = 0  # requests this worker is answering; counted by who accounts for them
        self.on_state: Callable[[ReplicaState], None] | None = None
        self._pid = pid
        self._folder = folder
        self._probes = probes
        self._streams: dict[int, Generation] = {}
        self._next_stream = itertools.count()
        self._scrapes: dict[int, asyncio.Future[Scraped]] = {}
        self._tickets = itertools.count()
        self._stage: tuple[bool, ...] | None = None  # of the last state

    async def start(self) -> None:
        """Connect, say hello and wait for the first state."""
        self._first_state: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._context = zmq.Context()
        self._engine = Link(self._dealer(ENGINE_SOCKET), self._take_delivery)
        self._hub = Link(self._dealer(HUB_SOCKET), self._take_from_hub)
        self.say_hello(ready=False)
        await asyncio.wait_for(self._first_state, FIRST_STATE_S)

    async def stop(self) -> None:
        self._engine.close()
        self._hub.close()
        self._context.term()

    # What routes use.

    def admit(self, *, kept: bool = False) -> None:
        """Raise the reason why a new request cannot be taken now.

        One on a kept connection is taken throughout a drain: its client learns of the drain by
        the answer, which ends the connection.
        """
        state = self.state
        if is_closed(state) and not (kept and state.phase == "draining" and not state.cut):
            raise shutting_down()
        if state.phase not in ("ready", "draining"):
            raise ModelLoading(f"The model is {state.phase}: {state.detail}.", retry_after=5)
        if self.is_silent(self._probes.ready_heartbeat_s):
            raise Overloaded("The engine does not answer at the moment.", retry_after=5)

    @asynccontextmanager
    async def generate(
        self, jobs: Sequence[Job], *, request_id: str, deadline: float | None
    ) -> AsyncIterator[Generation]:
        """Submit the jobs of one request; leaving the block aborts what is unfinished."""
        error = why_over(self.state)
        if error is not None:  # it changed since the request was admitted
            raise error
        streams = [next(self._next_stream) for _ in jobs]
        generation = Generation(streams[0], len(streams), abort=self._abort)
        self._streams.update(dict.fromkeys(streams, generation))
        overdue = self._watch_deadline(generation, deadline)
        try:
            choices = [
                Submit(stream, request_id, job.prompt, job.params, deadline)
                for stream, job in zip(streams, jobs, strict=True)
            ]
            self._engine.post(encode(Request(choices)))
            yield generation
        finally:
            if overdue is not None:
                overdue.cancel()
            self._forget(generation, streams)

    async def scrape(self, *, openmetrics: bool) -> Scraped:
        """The text of /metrics. Raises InternalError when the supervisor does not answer."""
        ticket = next(self._tickets)
        answer = self._scrapes[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._hub.post(encode(Scrape(ticket, openmetrics)))
            return await asyncio.wait_for(answer, SCRAPE_S)
        except TimeoutError as error:
            raise InternalError("The supervisor does not answer.") from error
        finally:
            self._scrapes.pop(ticket, None)

    def heartbeat_age(self) -> float:
        """Seconds since the engine's last report that the supervisor passed on."""
        return time.monotonic() - self.state.heartbeat

    def is_silent(self, longest: float) -> bool:
        """Whether it is older than `longest` and than a few steps explain: none beats within."""
        return self.heartbeat_age() > max(longest, PATIENCE_STEPS * self.state.slowest_step)

    # What the worker's composition uses.

    def say_hello(self, *, ready: bool, failure: str | None = None) -> None:
        self._hub.post(encode(WorkerHello(self.worker, self._pid, ready, failure)))

    @property
    def is_closed(self) -> bool:
        return is_closed(self.state)

    def measured(self, items: list[Measurement]) -> None:
        self._hub.post(encode(Measurements(items, self.in_flight, is_closed(self.state))))

    # The sockets.

    def _dealer(self, name: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, self.worker.encode())
        socket.setsockopt(zmq.SNDHWM, 0)  # a count or an abort is never lost; admission bounds it
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(f"ipc://{self._folder / name}")
        return socket

    def _forget(self, generation: Generation, streams: list[int]) -> None:
        for stream in streams:
            self._streams.pop(stream, None)
        if generation.unfinished:
            self._abort(sorted(generation.unfinished), "client")

    def _abort(self, streams: list[int], reason: AbortReason) -> None:
        self._engine.post(encode(Abort(streams, reason)))

    def _watch_deadline(
        self, generation: Generation, deadline: float | None
    ) -> asyncio.TimerHandle | None:
        """The engine keeps deadlines; this is for an engine that hangs."""
        if deadline is None:
            return None
        error = DeadlineExceeded("The request's deadline has passed.")
        after = max(0.0, deadline - time.monotonic()) + OVERDUE_S
        return asyncio.get_running_loop().call_later(after, generation.fail, error)

    def _take_delivery(self, frames: list[bytes]) -> None:
        for update in messages.delivery.decode(frames[-1]).updates:
            generation = self._streams.get(update.stream)
            if generation is not None:  # else it was aborted meanwhile
                generation.take(update)

    def _take_from_hub(self, frames: list[bytes]) -> None:
        match messages.from_hub.decode(frames[-1]):
            case ReplicaState() as state:
                self._take_state(state)
            case Flush(ticket=ticket):
                self._hub.post(encode(Flushed(ticket)))
            case Scraped() as scraped:
                answer = self._scrapes.get(scraped.ticket)
                if answer is not None and not answer.done():
                    answer.set_result(scraped)

    def _take_state(self, state: ReplicaState) -> None:
        self.state = state
        if not self._first_state.done():
            self._first_state.set_result(None)
        if self._stage != stage(state):
            self._stage = stage(state)
            self._end_streams()
            self.measured([])  # the supervisor counts anew after each stage of a drain
        if self.on_state is not None:
            self.on_state(state)

    def _end_streams(self) -> None:
        for generation in set(self._streams.values()):
            error = why_over(self.state)
            if error is not None:
                generation.fail(error)


def stage(state: ReplicaState) -> tuple[bool, ...]:
    """What a drain or a failure changes step by step."""
    return state.phase == "failed", state.phase == "draining", state.lingering, state.cut


def is_closed(state: ReplicaState) -> bool:
    """No new request is taken any more."""
    return state.phase == "failed" or (state.phase == "draining" and not state.lingering)


def why_over(state: ReplicaState) -> R3mesError | None:
    """Why no request gets any more news: the engine is gone, or the drain's time is over."""
    if state.phase == "failed":
        return engine_crash()
    return shutting_down() if state.cut else None


def engine_crash() -> EngineCrash:
    return EngineCrash("The engine ended while it worked on this request.")


def shutting_down() -> ShuttingDown:
    return ShuttingDown("This replica is shutting down; please try again.", retry_after=1)
