"""Against a server that writes bytes as told, down to where a piece is cut."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from r3mes.client.wire import post, target
from r3mes.errors import CallFailed

OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def answering(*pieces: bytes, stay: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that sends the pieces one by one; gives its address and the requests it got."""
    requests: list[bytes] = []
    answers: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.add(asyncio.current_task())  # type: ignore[arg-type]
        head = await reader.readuntil(b"\r\n\r\n")
        requests.append(head + await reader.read(2))
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)  # so that each arrives alone
            if stay:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        server.close()
        await asyncio.gather(*answers)


async def events_of(*pieces: bytes, **how: bool) -> list[bytes]:
    seen: list[bytes] = []
    async with answering(*pieces, **how) as (url, _):
        await post(
            target(url, "/x", api_key=None),
            b"{}",
            on_data=lambda payload, _: seen.append(payload),
            timeout_s=5,
        )
    return seen


@pytest.mark.parametrize(
    "body",
    [
        [b"data: one\n\ndata: two\n\n"],
        [b"data: o", b"ne\n", b"\ndata:two\n\n"],
        [b"data: one\r\n\r\n", b": a comment\r\n\r\ndata: two\r\n\r\n"],
        [b"event: x\ndata: one\n\nid: 3\ndata: two\n\n"],
    ],
)
async def test_events_are_found_however_they_are_cut_and_ended(body: Sequence[bytes]) -> None:
    assert [b"one", b"two"] == await events_of(OK, *map(chunk, body), END)


async def test_an_event_carries_the_time_at_which_its_bytes_arrived() -> None:
    times: list[float] = []
    async with answering(OK, chunk(b"data: a\n\n"), chunk(b"data: b\n\n"), END) as (url, _):
        await post(
            target(url, "/x", api_key=None),
            b"{}",
            on_data=lambda _, at: times.append(at),
            timeout_s=5,
        )

    assert times[1] - times[0] >= 0.005


async def test_the_request_is_complete_and_carries_the_key() -> None:
    async with answering(OK, END) as (url, requests):
        await post(
            target(f"{url}/below/", "/v1/x", api_key="k1"),
            b"{}",
            on_data=lambda *_: None,
            timeout_s=5,
        )

    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert b"POST /below/v1/x HTTP/1.1" == head.splitlines()[0]
    assert b"Authorization: Bearer k1" in head.splitlines()
    assert b"Content-Length: 2" in head.splitlines()
    assert b"{}" == body


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ((OK, chunk(b"data: a\n\n")), "cut off"),
        ((), "cut off"),
        ((b"SSH-2.0-OpenSSH\r\n",), "bad answer"),
        (
            (b'HTTP/1.1 503 No\r\nContent-Length: 32\r\n\r\n{"error":{"code":"server_busy"}} ',),
            "503 server_busy",
        ),
        ((b"HTTP/1.1 502 No\r\nContent-Length: 4\r\n\r\noops",), "502"),
    ],
)
async def test_a_failure_is_named_by_its_kind(pieces: Sequence[bytes], kind: str) -> None:
    with pytest.raises(CallFailed) as failed:
        await events_of(*pieces)

    assert kind == failed.value.code


async def test_a_server_that_never_ends_is_a_timeout() -> None:
    async with answering(OK, stay=True) as (url, _):
        with pytest.raises(CallFailed) as failed:
            await post(
                target(url, "/x", api_key=None), b"{}", on_data=lambda *_: None, timeout_s=0.1
            )

    assert "timeout" == failed.value.code


async def test_an_address_where_nobody_listens_is_no_connection() -> None:
    async with answering() as (url, _):
        pass
    with pytest.raises(CallFailed) as failed:
        await post(target(url, "/x", api_key=None), b"{}", on_data=lambda *_: None, timeout_s=5)

    assert "no connection" == failed.value.code


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(CallFailed, match="not an http"):
        target(url, "/x", api_key=None)
