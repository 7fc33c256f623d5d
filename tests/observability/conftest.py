"""A replica that has seen all that its metrics tell of: answers, errors, refusals, preemptions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.overload import CLIENTS, TIGHT, ask, overload
from support.replica import Replica, running_replica

SETTINGS = {"engine.runner": "fake", "engine.fake_step_ms": 1, **TIGHT}


@pytest.fixture(scope="session")
def tight_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica that is soon overloaded."""
    with running_replica(tmp_path_factory.mktemp("tight"), SETTINGS) as replica:
        yield replica.wait_ready()


@pytest.fixture(scope="session")
def seen_replica(tight_replica: Replica) -> Replica:
    """The same after a moment of load."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: ask(tight_replica, number), range(4 * CLIENTS)))
    return tight_replica


@pytest.fixture
def load(tight_replica: Replica) -> Iterator[None]:
    with overload(tight_replica):
        yield
