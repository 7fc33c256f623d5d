"""Chats that stream, in a loop, as clients without retries ask for them; a program of its own.

`python -m e2e.streaming http://10.96.0.7:8000` writes a line of JSON for each stream that begins to
answer and for each that ended, whole or not. One half of the clients keeps its connections, the
other makes a new one for each stream. When its input ends, it finishes what is under way.
"""

import argparse
import http.client
import itertools
import json
import select
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

PATH = "/v1/chat/completions"
QUESTION = "What does the readiness probe wait for?"
TIMEOUT_S = 60  # of one read; a server tells every 15 s that it is alive
AFTER_FAILURE_S = 0.2
DONE = b"data: [DONE]\n\n"

stopping = threading.Event()
writing = threading.Lock()


class NotWholeError(Exception):
    """An answer that is no complete stream; the message is what is wrong with it."""


@dataclass
class Stream:
    """One question with its answer so far."""

    began: float = field(default_factory=time.monotonic)
    first: float = 0.0
    last: float = 0.0
    arrivals: int = 0  # reads that brought events
    silence: float = 0.0  # the longest between two of them
    body: bytearray = field(default_factory=bytearray)

    def take(self, part: bytes) -> None:
        """A part that has no event only says that the server is alive."""
        self.body += part
        if b"data: " in part:
            self._arrived(time.monotonic())

    def _arrived(self, now: float) -> None:
        if self.first:
            self.silence = max(self.silence, now - self.last)
        else:
            self.first = now
            tell(saw="first")
        self.last = now
        self.arrivals += 1

    def told(self, **more: Any) -> dict[str, Any]:
        figures = {name: getattr(self, name) for name in ("began", "first", "last", "silence")}
        return {"saw": "end", "arrivals": self.arrivals, **figures, **more}


class Client:
    """Asks again and again over a connection of its own."""

    def __init__(self, asked: argparse.Namespace, *, keeps: bool) -> None:
        self._url = urllib.parse.urlsplit(asked.url)
        self._headers = {"content-type": "application/json", **dict(asked.header)}
        self._tokens: int = asked.max_tokens
        self._rounds: int = asked.rounds
        self._keeps = keeps
        self._connection = self._connect()

    def run(self) -> None:
        for _ in itertools.repeat(None, self._rounds) if self._rounds else itertools.count():
            if stopping.is_set():
                return
            self._stream()

    def _stream(self) -> None:
        stream, failure = Stream(), ""
        try:
            self._ask(stream)
        except (OSError, http.client.HTTPException, NotWholeError) as error:
            failure = f"{type(error).__name__}: {error}"
        if failure or not self._keeps:
            self._connection.close()
        tell(**stream.told(failure=failure, keeps=self._keeps))
        if failure:
            stopping.wait(AFTER_FAILURE_S)

    def _ask(self, stream: Stream) -> None:
        self._leave_what_was_closed()
        self._connection.request("POST", PATH, body=self._body(), headers=self._headers)
        with self._connection.getresponse() as response:
            if response.status != http.client.OK:
                raise NotWholeError(f"{response.status} {response.read()[:300]!r}")
            while part := response.read1(65536):
                stream.take(part)
        check(bytes(stream.body), tokens=self._tokens)

    def _leave_what_was_closed(self) -> None:
        """As every pool of connections does before it uses one again."""
        socket = self._connection.sock
        if socket is not None and select.select([socket], [], [], 0)[0]:
            self._connection.close()

    def _body(self) -> str:
        return json.dumps(
            {
                "messages": [{"role": "user", "content": QUESTION}],
                "max_tokens": self._tokens,
                "min_tokens": self._tokens,  # what came after an end would have no text
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )

    def _connect(self) -> http.client.HTTPConnection:
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        return kinds[self._url.scheme](self._url.netloc, timeout=TIMEOUT_S)


def check(body: bytes, *, tokens: int) -> None:
    """It ends as a stream does, and every token that was asked for was counted."""
    if not body.endswith(DONE):
        raise NotWholeError(f"it ends with {body[-300:]!r}")
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    if errors := [chunk for chunk in chunks if "error" in chunk]:
        raise NotWholeError(f"{errors[0]}")
    reasons = [
        choice["finish_reason"]
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["finish_reason"]
    ]
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
    if (["length"], [tokens]) != (reasons, counted):
        raise NotWholeError(f"it ended by {reasons} with {counted} of {tokens} tokens")


def tell(**what: Any) -> None:
    with writing:
        print(json.dumps(what), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="e2e.streaming", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=8, help="at a time")
    parser.add_argument("--max-tokens", type=int, default=200, help="of each stream")
    parser.add_argument("--rounds", type=int, default=0, help="streams of a client; 0 is no end")
    parser.add_argument("--header", nargs=2, action="append", default=[])
    asked = parser.parse_args()
    clients = [Client(asked, keeps=number % 2 == 0) for number in range(asked.streams)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    threading.Thread(target=stop_with_input, daemon=True).start()
    for thread in threads:
        thread.join()


def stop_with_input() -> None:
    sys.stdin.buffer.raw.read()
    stopping.set()


if __name__ == "__main__":
    main()
