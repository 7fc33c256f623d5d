"""Work stops when nobody waits for it."""

import asyncio
from typing import Any

import pytest

from r3mes.replica.presence import ClientGone, while_present


class Connection:
    """The receiving side of ASGI; `leave` is the client's."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    connection = Connection()
    undone = asyncio.Event()

    async def work() -> None:
        connection.leave()
        try:
            await asyncio.sleep(60)
        finally:
            undone.set()

    with pytest.raises(ClientGone):
        await while_present(connection.receive, work())
    assert undone.is_set()
    assert 0 == asyncio.current_task().cancelling()


async def test_a_cancel_beside_a_leave_stays_a_cancel() -> None:
    connection = Connection()
    inside = asyncio.Event()

    async def work() -> None:
        inside.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(while_present(connection.receive, work()))
    await inside.wait()
    connection.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_ends_is_left_alone() -> None:
    connection = Connection()

    async def work() -> str:
        return "done"

    assert "done" == await while_present(connection.receive, work())
    connection.leave()
    await asyncio.sleep(0)


async def test_an_error_of_the_work_passes() -> None:
    async def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await while_present(Connection().receive, work())


async def test_a_cancel_from_elsewhere_stays_a_cancel_and_ends_the_work() -> None:
    inside, undone = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        inside.set()
        try:
            await asyncio.sleep(60)
        finally:
            undone.set()

    task = asyncio.create_task(while_present(Connection().receive, work()))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone.is_set()
