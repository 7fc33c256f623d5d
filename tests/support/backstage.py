"""The other ends of a worker's two sockets: a supervisor and an engine that do what a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import zmq

from r3mes.engine import messages
from r3mes.engine.messages import (
    ENGINE_SOCKET,
    HUB_SOCKET,
    Delivery,
    EngineStats,
    Message,
    ReplicaState,
    Request,
    Submit,
    Update,
    encode,
)
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.link import Link
from r3mes.settings import ProbeSettings

WORKER = "w1"
PATIENCE_S = 10


def state(**changes: Any) -> ReplicaState:
    """A replica that is ready, but for the changes."""
    ready = ReplicaState(
        phase="ready",
        progress=1.0,
        detail="serving",
        started=0.0,
        started_at=0,
        heartbeat=float("inf"),
        lingering=False,
        cut=False,
        model=None,
        warm_ttft=0.1,
        stats=EngineStats(),
        phase_seconds={},
    )
    return msgspec.structs.replace(ready, **changes)


class Backstage:
    def __init__(self, folder: Path) -> None:
        self._context = zmq.Context()
        self.told: asyncio.Queue[Message] = asyncio.Queue()  # to the supervisor
        self.asked: asyncio.Queue[Message] = asyncio.Queue()  # of the engine
        self.state = state()
        self._hub = self._open(folder / HUB_SOCKET, messages.to_hub, self.told)
        self._engine = self._open(folder / ENGINE_SOCKET, messages.to_engine, self.asked)

    def publish(self, **changes: Any) -> None:
        """A new state for the worker."""
        self.state = state(**changes)
        self.say(self.state)

    def say(self, message: Message) -> None:
        self._hub.send(WORKER.encode(), encode(message))

    def deliver(self, *updates: Update) -> None:
        self._engine.send(WORKER.encode(), encode(Delivery(list(updates))))

    async def choices(self) -> list[Submit]:
        """Those of the next request that the engine is asked for."""
        request: Request = await self.next_of(Request, self.asked)
        return request.choices

    async def next_of(self, kind: type, queue: "asyncio.Queue[Message] | None" = None) -> Any:
        """The next such message to the supervisor (or in `queue`); others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await (queue or self.told).get()
                if isinstance(message, kind):
                    return message

    def close(self) -> None:
        self._hub.close()
        self._engine.close()
        self._context.term()

    def _open(
        self, place: Path, decoder: "msgspec.msgpack.Decoder[Any]", queue: "asyncio.Queue[Message]"
    ) -> Link:
        socket = self._context.socket(zmq.ROUTER)
        socket.bind(f"ipc://{place}")

        def take(frames: list[bytes]) -> None:
            for frame in frames[1:]:
                message = decoder.decode(frame)
                queue.put_nowait(message)
                if isinstance(message, messages.WorkerHello):
                    self.say(self.state)

        return Link(socket, take)


@asynccontextmanager
async def backstage(folder: Path) -> AsyncIterator[tuple[EngineClient, Backstage]]:
    """A client that is connected, and what it is connected to."""
    others = Backstage(folder)
    client = EngineClient(folder, worker=WORKER, pid=1, probes=ProbeSettings())
    await client.start()
    try:
        yield client, others
    finally:
        await client.stop()
        others.close()
