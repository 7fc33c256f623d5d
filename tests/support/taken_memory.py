"""Memory that this process has, and where the kernel gives it ahead."""

import mmap
import platform
import sys
from pathlib import Path

import pytest


def resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE >> 20


def gives_ahead() -> bool:
    """Linux does, from 5.14 on."""
    if sys.platform != "linux":
        return False
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (5, 14)


where_given_ahead = pytest.mark.skipif(not gives_ahead(), reason="no kernel that gives it ahead")
