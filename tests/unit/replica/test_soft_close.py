"""What is written in one turn of the loop leaves together, and before the end."""

import asyncio
from unittest.mock import Mock, call

import pytest

from r3mes.replica.soft_close import HELD_BYTES, SoftCloseTransport


class Ways:
    """A transport on another that only notes what is done to it."""

    def __init__(self) -> None:
        self.inner = Mock(spec=asyncio.Transport)
        self.inner.is_closing.return_value = False
        self.soft = SoftCloseTransport(
            self.inner, asyncio.get_running_loop(), patience=60, unread=lambda: False
        )

    @property
    def done(self) -> list[object]:
        return [each for each in self.inner.mock_calls if each != call.is_closing()]


@pytest.fixture
async def ways() -> Ways:
    return Ways()


async def test_a_head_goes_with_its_body(ways: Ways) -> None:
    ways.soft.write(b"head")
    ways.soft.write(b"body")
    assert [] == ways.done
    await asyncio.sleep(0)
    ways.soft.write(b"more")
    await asyncio.sleep(0)

    assert [call.writelines([b"head", b"body"]), call.writelines([b"more"])] == ways.done


async def test_a_lot_is_not_held_back(ways: Ways) -> None:
    lot = bytes(HELD_BYTES + 1)
    ways.soft.write(lot)

    assert [call.writelines([lot])] == ways.done


async def test_nothing_is_written_after_the_close(ways: Ways) -> None:
    ways.soft.close()
    ways.soft.write(b"late")
    ways.soft.stop_timers()
    await asyncio.sleep(0)

    assert [call.close()] == ways.done


async def test_what_was_written_leaves_before_the_close(ways: Ways) -> None:
    ways.soft.write(b"last")
    ways.soft.close()
    ways.soft.stop_timers()

    assert [call.writelines([b"last"]), call.close()] == ways.done


async def test_nothing_is_written_once_it_is_lost(ways: Ways) -> None:
    ways.soft.write(b"late")
    ways.inner.is_closing.return_value = True
    await asyncio.sleep(0)

    assert [] == ways.done
