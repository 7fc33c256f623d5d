"""Notices that the client has left, and stops the work that was done for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody is left to be answered."""


async def while_present(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work until the client leaves: then it is cancelled, and ClientGone raised.

    The whole body of the request must have been received before. The work gets a task of its own:
    waking the caller's goes through some twenty calls of the layers around it, at every token.
    """
    working = asyncio.create_task(work)
    watch = asyncio.create_task(watched(receive, working))
    try:
        return await working
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if watch.done() and caller is not None and not caller.cancelling():
            raise ClientGone from None
        raise
    finally:
        watch.cancel()  # the end of a response looks like a leave: nothing may come of it
        await asyncio.wait([watch])


async def watched(receive: Receive, working: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    working.cancel()
