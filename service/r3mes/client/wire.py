"""One streaming POST on a connection of its own, as cheap as Python allows.

Owns HTTP on the client's side and the splitting of server-sent events; every event is stamped when
its bytes arrive. Knows nothing of what the events mean.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from r3mes.client.answers import refusal
from r3mes.errors import CallFailed

OnData = Callable[[bytes, float], None]


class Target(NamedTuple):
    """Where requests go: the parts of the address and the headers that never change."""

    host: str
    port: int
    path: bytes
    head: bytes
    tls: ssl.SSLContext | None


def target(url: str, path: str, *, api_key: str | None) -> Target:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallFailed(f"{url} is not an http or https address.", code="bad address")
    secure = parts.scheme == "https"
    lines = [
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        "Connection: close",
    ]
    if api_key:
        lines.append(f"Authorization: Bearer {api_key}")
    return Target(
        host=parts.hostname,
        port=parts.port or (443 if secure else 80),
        path=(parts.path.rstrip("/") + path).encode(),
        head="".join(f"{line}\r\n" for line in lines).encode(),
        tls=ssl.create_default_context() if secure else None,
    )


async def post(to: Target, body: bytes, *, on_data: OnData, timeout_s: float) -> None:
    """Send `body` and give `on_data` the payload of every event with its time of arrival.

    Returns when the answer has ended well; raises CallFailed when it has not.
    """
    loop = asyncio.get_running_loop()
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    request = b"POST " + to.path + b" HTTP/1.1\r\n" + to.head + length + body
    try:
        async with asyncio.timeout(timeout_s):
            transport, exchange = await loop.create_connection(
                lambda: Exchange(request, on_data), to.host, to.port, ssl=to.tls
            )
            try:
                await exchange.ended
            finally:
                transport.abort()
    except TimeoutError as error:
        raise CallFailed(f"No end after {timeout_s:g} s.", code="timeout") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CallFailed(f"{to.host}:{to.port}: {reason}", code="no connection") from error


class Exchange(asyncio.Protocol):
    """Feeds what arrives to the parser; `ended` is the outcome."""

    def __init__(self, request: bytes, on_data: OnData) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._on_data = on_data
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._arrived = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._arrived = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(CallFailed(f"The answer is not HTTP: {error}", code="bad answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(CallFailed("The connection was closed in mid-answer.", code="cut off"))

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of the body."""
        if self._parser.get_status_code() != 200:
            self._rest += body
            return
        *lines, self._rest = (self._rest + body).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._on_data(line[5:].strip(), self._arrived)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the body."""
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(refusal(status, self._rest))
        elif not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, error: CallFailed) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
