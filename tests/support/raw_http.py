"""HTTP spoken by hand over a socket, for requests that no client library would send."""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The `code` of our error object; fails when the body is not one."""
        error = json.loads(self.body)["error"]
        assert {"message", "type", "param", "code"} == set(error)
        return error["code"]

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One socket; `send` pieces, then `response` or `at_end`."""

    def __init__(self, port: int, *, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.received = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> "Connection":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def send_until_refused(self, pieces: Iterable[bytes]) -> int:
        """Send until the peer closes; gives the bytes it took."""
        taken = 0
        try:
            for piece in pieces:
                self.socket.sendall(piece)
                taken += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return taken

    def more(self) -> bool:
        data = self.socket.recv(65536)
        self.received += data
        return bool(data)

    def response(self) -> RawResponse:
        """The next response that has a Content-Length."""
        while b"\r\n\r\n" not in self.received:
            if not self.more():
                raise ConnectionError(f"closed after {self.received!r}")
        head, _, rest = self.received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        length = int(headers["content-length"])
        while len(rest) < length:
            if not self.more():
                raise ConnectionError("closed within a body")
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return RawResponse(int(status_line.split()[1]), headers, rest[:length])

    def at_end(self) -> bool:
        """Whether the peer closes within the timeout and without another byte."""
        if self.received:
            return False
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def head(
    method: str = "POST",
    path: str = "/echo",
    *headers: str,
    host: str = "test",
    content_type: str | None = "application/json",
) -> bytes:
    """A request's head with what every request needs."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
