"""Writes an answer as server-sent events, straight to ASGI: one write an engine's delivery.

The response begins with the first news of the engine, so that whatever goes wrong before it is a
real HTTP error. After `KEEP_ALIVE_S` of silence it begins without news, and later errors are
events. Knows the shapes only as bytes.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from r3mes.errors import InternalError, R3mesError
from r3mes.replica.answer import Answer
from r3mes.replica.choice import Piece
from r3mes.replica.edge import DIRECT
from r3mes.replica.engine_client import Generation
from r3mes.replica.exchange import exchange_of
from r3mes.replica.presence import ClientGone, while_present
from r3mes.replica.wire import error_frame

KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n"  # one newline: with two, some clients see an empty event
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

log = logging.getLogger(__name__)


class Shape(Protocol):
    """Makes an answer's bytes; each method may return several events or none."""

    def opening(self, index: int) -> bytes: ...

    def piece(self, index: int, piece: Piece) -> bytes: ...

    def closing(self) -> bytes: ...

    def whole(self, pieces: Sequence[Piece]) -> bytes: ...


class EventStream(Response):
    """The response; `generation` is entered when it starts and left however it ends."""

    def __init__(
        self,
        answer: Answer,
        shape: Shape,
        generation: AbstractAsyncContextManager[Generation],
    ) -> None:
        super().__init__(headers=HEADERS)
        self._answer = answer
        self._shape = shape
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = Writer(begin=send, send=scope["state"][DIRECT])
        try:
            async with self._generation as generation:
                await while_present(receive, self._run(generation, writer))
        except ClientGone:
            return
        except R3mesError as error:
            if not writer.started:
                raise
            await self._fail(scope, writer, error)
        except Exception:
            if not writer.started:
                raise
            log.exception("a stream failed")
            await self._fail(scope, writer, InternalError("Something went wrong on our side."))

    async def _fail(self, scope: Scope, writer: "Writer", error: R3mesError) -> None:
        exchange_of(scope).error_type = error.code
        await writer.write(error_frame(error), last=True)

    async def _run(self, generation: Generation, writer: "Writer") -> None:
        waker = Waker(generation, writer)
        try:
            await self._write_all(generation, writer)
        finally:
            waker.stop()

    async def _write_all(self, generation: Generation, writer: "Writer") -> None:
        done = False
        while not done:
            parts = []
            for index, piece in await self._answer.next_pieces(generation):
                parts += [self._shape.opening(index), self._shape.piece(index, piece)]
            done = self._answer.done
            if done:
                parts.append(self._shape.closing())
            await writer.write(b"".join(parts) or writer.filler(), last=done)


class Waker:
    """Nudges the generation whenever the writer has been silent too long, until it is stopped.

    One timer a stream that looks at the clock when it fires: an event need not set it back.
    """

    def __init__(self, generation: Generation, writer: "Writer") -> None:
        self._generation = generation
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(writer.due, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._writer.is_late():
            self._generation.nudge()
            self._timer = self._loop.call_later(KEEP_ALIVE_S, self._look)
        else:
            self._timer = self._loop.call_at(self._writer.due, self._look)


class Writer:
    """The way out: `begin` takes the response's start, `send` its body.

    A client that does not read is cut off by the connection, not here.
    """

    def __init__(self, *, begin: Send, send: Send) -> None:
        self.started = False
        self._begin = begin
        self._time = asyncio.get_running_loop().time
        self._written = self._time()
        self._send = send

    @property
    def due(self) -> float:
        """When a comment should break the silence."""
        return self._written + KEEP_ALIVE_S

    def is_late(self) -> bool:
        return self._time() >= self.due

    def filler(self) -> bytes:
        """What to write where there is nothing to tell."""
        return KEEP_ALIVE if self.is_late() else b""

    async def write(self, frames: bytes, *, last: bool = False) -> None:
        if not frames:
            return
        if not self.started:
            self.started = True
            start = {"type": "http.response.start", "status": 200, "headers": RAW_HEADERS}
            await self._begin(start)
        self._written = self._time()
        message = {"type": "http.response.body", "body": frames, "more_body": not last}
        await self._send(message)
