"""Load for `http_servers`: asks again and again on kept connections, or counts streamed events.

As light as a Python client can be, so that what is measured is the server.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from functools import partial

from benchmarks.http_apps import EVENTS

BODY = json.dumps(
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": "word " * 60},
        ],
        "max_tokens": 64,
        "temperature": 0.7,
        "stream": True,
    }
).encode()
ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ECHO += b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
STREAM = b"GET /sse HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OURS = json.dumps({"prompt": "word", "max_tokens": EVENTS, "stream": True}).encode()
OUR_STREAM = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
OUR_STREAM += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(OURS), OURS)


class EchoClient(asyncio.Protocol):
    """Asks again as soon as it is answered; notes how long each answer took."""

    def __init__(self, wanted: bytes, times: list[float]) -> None:
        self.wanted, self.times = wanted, times

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._ask()

    def _ask(self) -> None:
        self.seen = b""
        self.asked = time.perf_counter()
        self.transport.write(self.wanted)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if is_whole(self.seen):
            self.times.append(time.perf_counter() - self.asked)
            self._ask()


def is_whole(answer: bytes) -> bool:
    """Whether the body has arrived, by its announced length or by the last chunk."""
    head, found, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    return bool(found) and (len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n"))


@dataclass(frozen=True)
class Streamed:
    """Events that arrived, in how many reads and seconds."""

    events: int
    reads: int
    seconds: float


class StreamClient(asyncio.Protocol):
    """Counts the events of one stream, and the reads in which they came."""

    def __init__(self, asked: bytes, ended: "asyncio.Future[tuple[int, int]]") -> None:
        self.asked, self.ended = asked, ended
        self.count, self.reads, self.rest = 0, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.asked)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        seen = self.rest + data
        self.reads += 1
        self.count += seen.count(b"data: ")
        self.rest = seen[-5:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result((self.count, self.reads))


async def echo_speed(
    port: int, *, connections: int, seconds: float, asked: bytes = ECHO
) -> list[float]:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    clients = [
        await loop.create_connection(lambda: EchoClient(asked, times), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in clients:
        transport.abort()
    return times


async def stream_all(port: int, *, streams: int, asked: bytes = STREAM) -> Streamed:
    """All at once; a few more events than tokens may come, such as one with the reason to end."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    ends: list[asyncio.Future[tuple[int, int]]] = [loop.create_future() for _ in range(streams)]
    for end in ends:
        await loop.create_connection(partial(StreamClient, asked, end), "127.0.0.1", port)
    seen = await asyncio.gather(*ends)
    events, reads = map(sum, zip(*seen, strict=True))
    if not streams * EVENTS <= events <= streams * (EVENTS + 3):
        raise RuntimeError(f"{events} of {streams * EVENTS} events arrived.")
    return Streamed(events, reads, seconds=time.perf_counter() - begin)
