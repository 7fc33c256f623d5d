"""Whether the kernel killed processes of this container for lack of memory, and under what limit.

Reads the control group that the container sees as its root, version 2 or 1; on a machine without
containers that is the machine's. Knows no process.
"""

from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MIB = 1 << 20
NO_LIMIT = 1 << 60  # bytes; version 1 says it with a number near 2^63


@dataclass(frozen=True)
class MemoryKills:
    """`before` is what had been counted when the watch began."""

    root: Path
    before: int

    def told(self) -> str:
        """A sentence about those since then, or nothing."""
        killed = count(self.root) - self.before
        if killed <= 0:
            return ""
        processes = "1 process" if killed == 1 else f"{killed} processes"
        most = limit(self.root)
        under = "" if most is None else f"; the container's limit is {most // MIB} MiB"
        return f"The kernel killed {processes} for lack of memory{under}."


def watch(root: Path = CGROUP) -> MemoryKills:
    return MemoryKills(root, count(root))


def count(root: Path) -> int:
    """Processes killed since the control group was made; 0 where nobody counts them."""
    for name in ("memory.events", "memory/memory.oom_control"):
        entries = dict(line.split(maxsplit=1) for line in text(root / name).splitlines())
        if "oom_kill" in entries:
            return int(entries["oom_kill"])
    return 0


def limit(root: Path) -> int | None:
    """Bytes."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        said = text(root / name).strip()
        if said.isdigit() and int(said) < NO_LIMIT:
            return int(said)
    return None


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
