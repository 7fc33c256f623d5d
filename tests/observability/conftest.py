"""A replica that has seen all that its metrics tell of: answers, errors, refusals, preemptions."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.completions import PATH, complete, stream
from support.replica import PLAIN, Replica, running_replica

TIGHT = {  # two sequences fit the batch, not the cache
    "engine.runner": "fake",
    "engine.fake_step_ms": 5,
    "engine.max_batch": 2,
    "engine.max_waiting": 4,
    "engine.kv_blocks": 8,
    "model.max_len": 128,
}


@pytest.fixture(scope="session")
def tight_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica that is soon overloaded."""
    with running_replica(tmp_path_factory.mktemp("tight"), TIGHT) as replica:
        yield replica.wait_ready()


@pytest.fixture(scope="session")
def seen_replica(tight_replica: Replica) -> Replica:
    """The same after a moment of load."""
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: ask(tight_replica, number), range(40)))
    return tight_replica


@pytest.fixture
def load(tight_replica: Replica) -> Iterator[None]:
    """More clients than it can take, for as long as the test runs."""
    over = threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            ask(tight_replica, number)
            over.wait(0.05)  # what is refused comes again, but not at once

    with ThreadPoolExecutor(10) as pool:
        clients = [pool.submit(client, number) for number in range(10)]
        yield
        over.set()
    for each in clients:
        each.result()


def ask(replica: Replica, number: int) -> None:
    """One of the things that clients do, good and bad; some are refused."""
    match number % 10:
        case 0:
            with stream(replica, max_tokens=100) as events:
                if events.response.status_code == 200:
                    events.first()  # and leaves
        case 1:
            httpx.post(f"{replica.url}{PATH}", json={"prompt": ""}, verify=PLAIN)
        case 2:
            complete(replica, max_tokens=5, surprise=1)
        case _:
            complete(replica, max_tokens=80)
