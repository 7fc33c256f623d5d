"""How many cores this process may really use: its affinity, and the quota of its container."""

import os
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(root: Path = CGROUP) -> int:
    """At least one; `root` is the control group that a container sees as its own."""
    allowed = _affinity()
    return min(allowed, quota_cores(root) or allowed)


def quota_cores(root: Path) -> int | None:
    """Whole cores of the quota, which version 2 writes into one file and version 1 into two."""
    said = _numbers(root / "cpu.max") or (
        _numbers(root / "cpu/cpu.cfs_quota_us") + _numbers(root / "cpu/cpu.cfs_period_us")
    )
    if len(said) < 2:  # version 2 without a quota says `max`
        return None
    quota, period = said  # microseconds
    return None if quota < 0 else max(1, quota // period)


def _numbers(path: Path) -> list[int]:
    try:
        words = path.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words if word != "max"]


def _affinity() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505 - the type checker reads it as two platforms
        return os.cpu_count() or 1
