"""The cgroups below which a node's pods live, in version 1 and in version 2.

Version 1 has a tree for each controller, and a kubelet wants its root in every one of them.
"""

import signal
from pathlib import Path

from e2e.cluster import processes

MOUNTS = Path("/proc/self/mountinfo")


def make(name: str) -> None:
    for tree in _trees():
        folder = tree / name.strip("/")
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 starts empty here and then takes no process at all.
            if (folder / setting).is_file() and (tree / "tasks").is_file():
                (folder / setting).write_text((tree / setting).read_text())


def end_all(name: str) -> None:
    """Every process below it."""
    for tree in _trees():
        for file in (tree / name.strip("/")).rglob("cgroup.procs"):
            for pid in _read(file):
                processes.send(int(pid), signal.SIGKILL)


def is_empty(name: str) -> bool:
    files = (it for tree in _trees() for it in (tree / name.strip("/")).rglob("cgroup.procs"))
    return not any(_read(file) for file in files)


def remove(name: str) -> None:
    for tree in _trees():
        folder = tree / name.strip("/")
        deepest_first = sorted(folder.rglob("*/"), key=lambda it: len(it.parts), reverse=True)
        for below in [it for it in deepest_first if it.is_dir()]:
            below.rmdir()
        if folder.is_dir():
            folder.rmdir()


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []  # removed meanwhile


def _trees() -> list[Path]:
    """Of both versions: where both are mounted, runc makes its groups in both."""
    mounts = [line.split(" - ") for line in MOUNTS.read_text().splitlines()]
    return [Path(place.split()[4]) for place, kind in mounts if kind.startswith("cgroup")]
