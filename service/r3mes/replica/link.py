"""A ZeroMQ socket on the running event loop: one callback a message, no task and no future.

Knows nothing of the messages. ZeroMQ's descriptor reports edges, not levels, and a send can use
one up; that is why both receiving and sending end by asking for what is still there.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import zmq

MOST_AT_ONCE = 64  # then others on the loop get their turn


class Link:
    """Owns `socket`; `receive` gets the frames of each message."""

    def __init__(self, socket: zmq.Socket[bytes], receive: Callable[[list[bytes]], None]) -> None:
        self._socket = socket
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._posted: list[bytes] = []
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._look_again()

    def send(self, *frames: bytes) -> None:
        """Hand a message over, after what was posted.

        Raises zmq.Again when the other side does not take any more.
        """
        self._send_posted()
        self._send(*frames)

    def _send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames, flags=zmq.NOBLOCK)
        if self._again is None and self._readable():
            self._look_again()

    def post(self, frame: bytes) -> None:
        """Hand it over with all others of this turn of the loop, as the frames of one message.

        Each message wakes ZeroMQ's thread, which costs more than what most of them are about.
        """
        if not self._posted:
            self._loop.call_soon(self._send_posted)
        self._posted.append(frame)

    def _send_posted(self) -> None:
        posted, self._posted = self._posted, []
        if posted:
            self._send(*posted)

    def close(self) -> None:
        self._send_posted()
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._descriptor)
        self._socket.close(linger=200)

    def _look_again(self) -> None:
        self._again = self._loop.call_soon(self._drain)

    def _readable(self) -> bool:
        events: Any = self._socket.getsockopt(zmq.EVENTS)
        return bool(events & zmq.POLLIN)

    def _drain(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for _ in range(MOST_AT_ONCE):
            try:
                frames = self._socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._receive(frames)
            except BaseException:
                self._look_again()  # one bad message must not leave the rest lying
                raise
            if self._socket.closed:
                return
        self._look_again()
