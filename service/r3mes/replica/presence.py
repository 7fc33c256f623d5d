"""Notices that the client has left, and stops the work that was done for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive


class ClientGone(Exception):
    """Nobody is left to be answered."""


@asynccontextmanager
async def while_present(receive: Receive) -> AsyncIterator[None]:
    """Run the block until the client leaves: then it is cancelled, and ClientGone raised.

    The whole body of the request must have been received before.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - ASGI runs in tasks
    watch = asyncio.create_task(watched(receive, task))
    try:
        yield
    except asyncio.CancelledError:
        if watch.done() and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        watch.cancel()  # the end of a response looks like a leave: nothing may come of it
        await asyncio.wait([watch])


async def watched(receive: Receive, task: asyncio.Task[object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()
