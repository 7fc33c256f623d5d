"""A transport whose close lets the peer read the answer: no reset by unread input, no endless wait.

Closing a socket that holds unread input resets it, and the peer loses the response it was about
to read. So this one first ends only its own direction and drops input for a moment. What is
written in one turn of the loop leaves at its end: a head goes with its body, and the streams of a
step are written one after the other, when all have their events. Knows bytes.
"""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 1.0
HELD_BYTES = 64 << 10  # more than this is not held back, so that a slow peer is felt at once
LINGER_BYTES = 8 << 20  # more than this nobody sends by mistake


class SoftCloseTransport(asyncio.Transport):
    """`unread` says whether input may still come; `patience` bounds the wait for a slow reader."""

    def __init__(
        self,
        inner: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        patience: float,
        unread: Callable[[], bool],
    ) -> None:
        super().__init__()
        self.inner = inner
        self.loop = loop
        self.patience = patience
        self.unread = unread
        self.closing = False
        self.paused = False
        self.dropped = 0
        self.unsent: list[bytes | bytearray | memoryview] = []
        self.held = 0  # bytes in it
        self.timers: list[asyncio.TimerHandle] = []

    def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        self.flush()
        self.timers.append(self.loop.call_later(self.patience, self.inner.abort))
        if self.unread() and self.inner.can_write_eof() and not self.inner.is_closing():
            self.inner.write_eof()
            self.resume_reading()
            self.timers.append(self.loop.call_later(LINGER_S, self.inner.close))
        else:
            self.inner.close()

    def drop(self, size: int) -> None:
        """Count input that nobody reads; too much of it ends the connection at once."""
        self.dropped += size
        if self.dropped > LINGER_BYTES:
            self.inner.abort()

    def stop_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()

    def is_closing(self) -> bool:
        return self.closing or self.inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closing:
            return
        if not self.unsent:
            self.loop.call_soon(self.flush)
        self.unsent.append(data)
        self.held += len(data)
        if self.held > HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        unsent, self.unsent, self.held = self.unsent, [], 0
        if unsent and not self.inner.is_closing():
            self.inner.writelines(unsent)

    def abort(self) -> None:
        self.inner.abort()

    def pause_reading(self) -> None:
        self.paused = True
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        if self.paused:
            self.paused = False
            self.inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.inner.get_extra_info(name, default)
