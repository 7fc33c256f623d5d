"""Starts programs that outlive this one and ends them later, by the process ids kept at the start.

A kept id carries the moment of its process's start, so that no stranger who got the same id later
is ended. Knows nothing of what the programs do.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from e2e.cluster.places import LOGS, RUN

PIDS = RUN / "pids"
END_S = 10.0


def start(name: str, command: list[str], *, environ: dict[str, str] | None = None) -> None:
    """In a session of its own; its output goes to the log of its name."""
    LOGS.mkdir(parents=True, exist_ok=True)
    PIDS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
    (PIDS / name).write_text(f"{process.pid} {_started(process.pid)}")


def is_running(name: str) -> bool:
    return _pid(name) is not None


def end(*names: str) -> None:
    """Asks all of them at once, then insists."""
    for name in names:
        _signal(name, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    for name in names:
        while is_running(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal(name, signal.SIGKILL)
        (PIDS / name).unlink(missing_ok=True)


def kept() -> list[str]:
    return sorted(file.name for file in PIDS.iterdir()) if PIDS.is_dir() else []


def kill(name: str) -> None:
    """As a crash would."""
    _signal(name, signal.SIGKILL)


def wait(what: str, is_so: Callable[[], bool], *, within_s: float, process: str = "") -> None:
    """Until it is so; a process that ended meanwhile is not waited for."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if process and not is_running(process):
            raise RuntimeError(f"{process} ended. The end of its log:\n{last_words(process)}")
        if time.monotonic() > deadline:
            words = f" The end of its log:\n{last_words(process)}" if process else ""
            raise RuntimeError(f"waited {within_s:.0f} s in vain for {what}.{words}")
        time.sleep(0.1)


def last_words(name: str) -> str:
    return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-15:])


def _signal(name: str, number: signal.Signals) -> None:
    if pid := _pid(name):
        send(pid, number)


def send(pid: int, number: signal.Signals) -> None:
    """To a process that may have ended by itself."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _pid(name: str) -> int | None:
    file = PIDS / name
    if not file.is_file():
        return None
    pid, _, started = file.read_text().partition(" ")
    _reap(int(pid))
    return int(pid) if started and started == _started(int(pid)) else None


def _reap(pid: int) -> None:
    """A child of this very process would stay a zombie, which looks like a running one."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _started(pid: int) -> str:
    """In ticks since the machine's start; empty where there is no such process or a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
