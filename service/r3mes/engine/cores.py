"""How many cores this process may really use: its affinity, and the quota of its container."""

import os
import sys
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    allowed = _affinity()
    return min(allowed, quota_cores(QUOTA.read_text()) or allowed) if QUOTA.exists() else allowed


def quota_cores(text: str) -> int | None:
    """From the kernel's `<microseconds or max> <period>`; None without a quota."""
    quota, _, period = text.partition(" ")
    return None if quota == "max" else max(1, int(quota) // int(period))


def _affinity() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505 - the type checker reads it as two platforms
        return os.cpu_count() or 1
