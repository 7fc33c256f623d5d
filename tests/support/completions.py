"""Asks a running replica for completions the way clients do, and keeps what came."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from support.replica import PLAIN, Replica

PATH = "/v1/completions"
DONE = "[DONE]"


def body(*, max_tokens: int, stream: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "prompt": "abc",
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "stream": stream,
        **more,
    }


def complete(replica: Replica, *, max_tokens: int = 4, **more: Any) -> httpx.Response:
    """One answer in one."""
    return httpx.post(
        f"{replica.url}{PATH}", json=body(max_tokens=max_tokens, **more), timeout=30, verify=PLAIN
    )


class Events:
    """The `data:` payloads of one stream as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[str]:
        return (line.removeprefix("data: ") for line in self._lines if line.startswith("data: "))

    def first(self) -> str:
        return next(iter(self))

    def rest(self) -> list[str]:
        return list(self)


@contextmanager
def stream(replica: Replica, *, max_tokens: int, **more: Any) -> Iterator[Events]:
    """An open stream; its response has begun."""
    with httpx.stream(
        "POST",
        f"{replica.url}{PATH}",
        json=body(max_tokens=max_tokens, stream=True, **more),
        timeout=60,
        verify=PLAIN,
    ) as response:
        yield Events(response)


def error_code(event: str) -> str:
    return str(json.loads(event)["error"]["code"])
