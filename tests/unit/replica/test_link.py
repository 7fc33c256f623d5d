"""Messages on the event loop: none is left lying, however many come at once."""

import asyncio
from collections.abc import Iterator

import pytest
import zmq

from r3mes.replica.link import MOST_AT_ONCE, Link


@pytest.fixture
def sockets() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    with (
        zmq.Context() as context,
        context.socket(zmq.PAIR) as ours,
        context.socket(zmq.PAIR) as theirs,
    ):
        ours.bind("inproc://link")
        theirs.connect("inproc://link")
        yield ours, theirs


async def test_a_burst_arrives_whole_and_in_order(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    ours, theirs = sockets
    wanted = [str(number).encode() for number in range(3 * MOST_AT_ONCE)]
    seen: list[bytes] = []
    done = asyncio.Event()

    def take(frames: list[bytes]) -> None:
        seen.append(frames[0])
        link.send(b"thanks")  # a send may swallow the edge that tells of more
        if len(seen) == len(wanted):
            done.set()

    link = Link(ours, take)
    for message in wanted:
        theirs.send(message)
    async with asyncio.timeout(10):
        await done.wait()
    link.close()

    assert wanted == seen


async def test_a_message_that_cannot_be_taken_does_not_hold_up_the_next(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    ours, theirs = sockets
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    good = asyncio.Event()

    def take(frames: list[bytes]) -> None:
        if frames == [b"bad"]:
            raise ValueError
        good.set()

    link = Link(ours, take)
    theirs.send(b"bad")
    theirs.send(b"good")
    async with asyncio.timeout(10):
        await good.wait()
    link.close()

    assert 1 == len(faults)


async def test_what_is_posted_in_one_turn_is_one_message(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    ours, theirs = sockets
    link = Link(ours, lambda frames: None)
    link.post(b"one")
    link.post(b"two")
    await asyncio.sleep(0)
    link.post(b"three")
    link.close()  # takes leave of what is still to go

    assert [[b"one", b"two"], [b"three"]] == [theirs.recv_multipart() for _ in range(2)]


async def test_what_is_sent_follows_what_was_posted(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    ours, theirs = sockets
    link = Link(ours, lambda frames: None)
    link.post(b"first")
    link.send(b"then")
    link.close()

    assert [b"first", b"then"] == [theirs.recv() for _ in range(2)]
