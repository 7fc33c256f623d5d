"""Keeps two of us from treading on each other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.places import CACHE


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Waits for whoever else does this on this machine."""
    with _file(what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Users:
    """Those whose tests run on the cluster now, on this machine; entering makes us one of them."""

    def __enter__(self) -> "Users":
        self._lock = _file("users").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    @contextmanager
    def kept_away(self) -> Iterator[bool]:
        """Whether there are no others; where so, nobody becomes one meanwhile."""
        try:
            yield self._is_only_user()
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _is_only_user(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _file(what: str) -> Path:
    folder = CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / what
