"""More clients than a replica can take, good and bad ones, so that all its metrics have to move.

with overload(url):
    ...
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from support.completions import PATH, complete, stream
from support.replica import PLAIN

CLIENTS = 10
# Two sequences fit the batch, not the cache: whatever lead one has, they outgrow it together.
TIGHT = {
    "engine.max_batch": 2,
    "engine.max_waiting": 4,
    "engine.kv_blocks": 64,
    "model.max_len": 1024,
}


class Reached(NamedTuple):
    """A replica of which nothing but its address is known."""

    url: str


@contextmanager
def overload(replica: Any) -> Iterator[None]:
    """For as long as the context lasts. A replica is whatever has an url."""
    over = threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            ask(replica, number)
            over.wait(0.05)  # what is refused comes again, but not at once

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            yield
        finally:
            over.set()
    for each in clients:
        each.result()


def ask(replica: Any, number: int) -> None:
    """One of the things that clients do, good and bad; some are refused."""
    match number % CLIENTS:
        case 0:
            with stream(replica, max_tokens=900) as events:  # long enough to be left
                if events.response.status_code == 200:
                    events.first()  # and leaves
        case 1:
            httpx.post(f"{replica.url}{PATH}", json={"prompt": ""}, verify=PLAIN)
        case 2:
            complete(replica, max_tokens=5, surprise=1)
        case _:
            complete(replica, max_tokens=800)
