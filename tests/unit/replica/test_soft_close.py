"""What is written in one turn of the loop leaves together, and before the end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from r3mes.replica.soft_close import HELD_BYTES, SoftCloseTransport


class Pair:
    """The transport on one end of a connection, and what has arrived at the other."""

    def __init__(self, inner: asyncio.Transport, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.soft = SoftCloseTransport(inner, loop, patience=60, unread=lambda: True)
        self._peer = peer

    def heard(self) -> bytes | None:
        """None while there is nothing; empty at the end."""
        try:
            return self._peer.recv(HELD_BYTES)
        except BlockingIOError:
            return None


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    inner, _ = await loop.create_unix_connection(asyncio.Protocol, sock=ours)
    pair = Pair(inner, theirs)
    try:
        yield pair
        await asyncio.sleep(0.01)
    finally:
        pair.soft.stop_timers()
        pair.soft.abort()
        theirs.close()
    assert [] == faults


def on_a_connection(steps: Callable[[Pair], Awaitable[None]]) -> None:
    """On uvloop, whose transports the service has."""

    async def run() -> None:
        async with connected() as pair:
            await steps(pair)

    uvloop.run(run())


def test_a_head_goes_with_its_body() -> None:
    async def steps(pair: Pair) -> None:
        pair.soft.write(b"head")
        pair.soft.write(b"body")
        assert pair.heard() is None
        await asyncio.sleep(0.01)
        assert b"headbody" == pair.heard()
        pair.soft.write(b"more")
        await asyncio.sleep(0.01)
        assert b"more" == pair.heard()

    on_a_connection(steps)


def test_a_lot_is_not_held_back() -> None:
    async def steps(pair: Pair) -> None:
        pair.soft.write(bytes(HELD_BYTES + 1))
        assert pair.heard()

    on_a_connection(steps)


def test_what_was_written_leaves_before_the_close_and_nothing_after() -> None:
    async def steps(pair: Pair) -> None:
        pair.soft.write(b"last")
        pair.soft.close()
        pair.soft.write(b"late")
        await asyncio.sleep(0.01)
        assert [b"last", b""] == [pair.heard(), pair.heard()]

    on_a_connection(steps)


def test_nothing_is_written_once_it_is_lost() -> None:
    async def steps(pair: Pair) -> None:
        pair.soft.abort()
        pair.soft.write(b"late")
        await asyncio.sleep(0.01)
        assert b"" == pair.heard()

    on_a_connection(steps)
