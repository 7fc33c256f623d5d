"""The engine's two sockets: one that workers talk to, one to the supervisor.

Knows how messages travel, nothing of what they mean. All on ZeroMQ, which queues and reconnects;
nothing here blocks but `wait`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zmq

from r3mes.engine.messages import (
    ENGINE,
    ENGINE_SOCKET,
    HUB_SOCKET,
    Delivery,
    EngineReport,
    ToEngine,
    encode,
    to_engine,
)

logger = logging.getLogger(__name__)

REPORTS = 64  # unread reports before a new one is not sent but kept
FLUSH_MS = 1000  # at the end, time for the last report to leave


class Wire:
    def __init__(self, run_dir: Path) -> None:
        self._context = zmq.Context()
        self._workers = self._context.socket(zmq.ROUTER)
        # No bound towards a worker: what can wait there is bounded by its live streams, and a
        # dropped delivery would be a token lost in silence. Mandatory: a gone worker is an error.
        self._workers.set_hwm(0)
        self._workers.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._workers.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._workers.setsockopt(zmq.LINGER, FLUSH_MS)
        self._workers.bind(f"ipc://{run_dir / ENGINE_SOCKET}")
        self._hub = self._context.socket(zmq.DEALER)
        self._hub.setsockopt(zmq.IDENTITY, ENGINE)
        self._hub.setsockopt(zmq.SNDHWM, REPORTS)
        self._hub.setsockopt(zmq.LINGER, FLUSH_MS)
        self._hub.connect(f"ipc://{run_dir / HUB_SOCKET}")
        self._poller = zmq.Poller()
        self._poller.register(self._workers, zmq.POLLIN)
        self._poller.register(self._hub, zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until a message is there, or the time has passed."""
        self._poller.poll(max(0, round(seconds * 1000)))

    def receive(self) -> Iterator[tuple[str, ToEngine]]:
        """All messages that are there, each with its sender; the supervisor is `hub`."""
        while frames := _next(self._hub):
            yield from _decoded("hub", frames[-1])
        while frames := _next(self._workers):
            sender = frames[0].decode(errors="replace")
            for frame in frames[1:]:
                yield from _decoded(sender, frame)

    def deliver(self, worker: str, delivery: Delivery) -> bool:
        """False when there is no such worker any more."""
        try:
            self._workers.send_multipart([worker.encode(), encode(delivery)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def report(self, report: EngineReport) -> bool:
        """False when the supervisor has left so many unread that this one must wait."""
        try:
            self._hub.send(encode(report), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        self._workers.close()
        self._hub.close()
        self._context.term()


def _next(socket: zmq.Socket[bytes]) -> list[bytes]:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return []


def _decoded(sender: str, frame: bytes) -> Iterator[tuple[str, ToEngine]]:
    try:
        yield sender, to_engine.decode(frame)
    except msgspec.MsgspecError as error:
        logger.error("a message from %s cannot be read: %s", sender, error)  # noqa: TRY400
