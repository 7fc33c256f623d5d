"""Memory that this process may still take, on a CPU or a CUDA device. Knows no models."""

import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on the device: on a CPU the least of system and cgroup."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(0, min(_system_free(), cgroup_free(CGROUP)))


def _system_free() -> int:
    if MEMINFO.is_file():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # No such file, as on macOS: half of the memory, since nothing tells what others will take.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def cgroup_free(root: Path) -> int:
    """Bytes left under the memory limit of version 2 or 1; endless where there is none.

    What is used without the file cache, which the kernel gives back when asked for more.
    """
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        most = _number(root / limit)
        if most is not None:
            taken = (_number(root / used) or 0) - _entry(root / stat, cache)
            return most - taken
    return 1 << 62


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.lstrip("-").isdigit() else None


def _entry(path: Path, name: str) -> int:
    if not path.is_file():
        return 0
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) for words in lines if words[:1] == [name]), 0)
