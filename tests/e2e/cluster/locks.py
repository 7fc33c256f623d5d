"""Keeps two of us from treading on each other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.places import CACHE


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Waits for whoever else does this on this machine."""
    folder = CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
