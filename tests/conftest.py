"""Fixtures of every test: running replicas, and nothing left behind by any of them."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from support.interpreted import interpreted
from support.replica import Replica, Settings, running_replica

with interpreted(), suppress(ModuleNotFoundError):
    import triton  # noqa: F401 - before `transformers` does

    import r3mes.engine.cuda.kernels  # noqa: F401 - before any test module does

with suppress(ModuleNotFoundError):
    import tqdm

    tqdm.tqdm.monitor_interval = 0  # the first progress bar would leave a thread that watches all

settings.register_profile("no deadlines", deadline=None)  # the machine may be busy
settings.load_profile("no deadlines")

FAKE: Settings = {"engine.runner": "fake"}
JOIN_S = 5.0
KEPT_THREADS = ("asyncio_", "ThreadPoolExecutor", "AnyIO worker thread")  # pools outlive a test


@pytest.fixture(scope="session")
def fake_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One replica with the fake runner for all tests that only ask it."""
    with running_replica(tmp_path_factory.mktemp("fake"), FAKE) as replica:
        yield replica.wait_ready()


@pytest.fixture(scope="session")
def tiny_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One replica with the bundled model."""
    with running_replica(tmp_path_factory.mktemp("tiny"), {}) as replica:
        yield replica.wait_ready()


@pytest.fixture
def start_replica(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts replicas with settings of the test's own, by dotted names; ends them with it."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(settings: Settings = FAKE, *, command: str = "replica") -> Replica:
            folder = tmp_path / f"replica{next(count)}"
            return stack.enter_context(running_replica(folder, settings, command=command))

        yield start


@pytest.fixture(scope="session", autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    assert [] == psutil.Process().children(recursive=True)


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(threading.enumerate())
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left")
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith(KEPT_THREADS):
            thread.join(JOIN_S)
            assert not thread.is_alive(), f"{thread} was left running"


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert set() == left
