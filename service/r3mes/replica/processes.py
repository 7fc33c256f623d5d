"""Starts child processes, reaps them, and sees that none is left. Knows nothing of what they do.

Each child is the leader of its own session, so a Ctrl-C in a terminal reaches only its parent, and
holds the reading end of a pipe whose writing end only the parent has: the lifeline.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# Variables by which gunicorn and systemd would take over what is said on standard input.
FOREIGN = ("GUNICORN_PID", "GUNICORN_FD", "GUNICORN_CMD_ARGS", "LISTEN_FDS", "NOTIFY_SOCKET")


class Child:
    """One process. `exited` resolves to its exit code, negative for a signal."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.pid = popen.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._popen = popen

    def signal(self, number: int) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and everything in its session, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, *, grace: float) -> None:
        """Ask it to end, wait at most `grace` seconds, then end its whole session."""
        self.signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=grace)
        self.kill()
        await self.exited

    def ended(self, code: int) -> None:
        self._popen.returncode = code  # the reaper took the status, not Popen
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        if not self.exited.done():
            self.exited.set_result(code)


class Children:
    """All children of this process, and the reaper of them and of orphans given to process 1."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Child] = {}

    def open(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def close(self) -> None:
        """End what is left and wait for it."""
        for child in self._by_pid.values():
            child.kill()
        for child in list(self._by_pid.values()):
            _, status = os.waitpid(child.pid, 0)
            child.ended(os.waitstatus_to_exitcode(status))
        self._by_pid.clear()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def start(
        self, name: str, module: str, payload: Mapping[str, Any], *, pass_fds: Sequence[int] = ()
    ) -> Child:
        """Run `python -m module` and tell it `payload`."""
        popen = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            env=environment(),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        child = self._by_pid[popen.pid] = Child(name, popen)
        assert popen.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(BrokenPipeError):  # it died at once: `exited` will say so
            popen.stdin.write(json.dumps(payload).encode() + b"\n")
            popen.stdin.flush()
        return child

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._by_pid.pop(pid, None)
            if child is not None:
                child.ended(os.waitstatus_to_exitcode(status))


def environment() -> dict[str, str]:
    """A child's. Code is never found in the current folder, which may be one with a checkpoint."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**kept, "PYTHONSAFEPATH": "1"}  # for what a library may start


def describe_exit(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
