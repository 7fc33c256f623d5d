"""Looks at a running replica from outside: processes, descriptors, memory, metrics.

Changes nothing.
"""

import time
from dataclasses import dataclass

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

ROLES = {"r3mes.engine.process": "engine", "r3mes.replica.web": "web"}
QUIET_S = 60


@dataclass(frozen=True)
class Sight:
    """What must come back to the baseline; descriptors and memory by role, workers summed up."""

    at_s: float
    phase_ready: bool
    workers: int
    running: int
    waiting: int
    blocks_used: int
    blocks_all: int
    descriptors: dict[str, int]
    memory_mb: dict[str, float]

    @property
    def is_idle(self) -> bool:
        return self.phase_ready and not (self.running or self.waiting or self.blocks_used)


def processes(pid: int) -> dict[str, list[psutil.Process]]:
    """The replica's processes by role."""
    root = psutil.Process(pid)
    found: dict[str, list[psutil.Process]] = {"supervisor": [root], "worker": []}
    for process in root.children():
        role = role_of(process)
        found.setdefault(role, []).append(process)
        if role == "web":
            found["worker"] = process.children()
    return found


def role_of(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return "gone"
    return next((role for module, role in ROLES.items() if module in words), "other")


def metrics(url: str) -> dict[tuple[str, str], float]:
    """Samples by name and the values of their labels."""
    text = httpx.get(f"{url}/metrics", timeout=10).text
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def look(url: str, pid: int, *, since: float) -> Sight:
    seen = metrics(url)
    blocks = {
        labels: int(value) for (name, labels), value in seen.items() if name == "r3mes_kv_blocks"
    }
    roles = processes(pid)
    return Sight(
        at_s=round(time.monotonic() - since, 1),
        phase_ready=httpx.get(f"{url}/readyz", timeout=10).status_code == httpx.codes.OK,
        workers=len(roles["worker"]),
        running=total(seen, "r3mes_requests_running"),
        waiting=total(seen, "r3mes_requests_waiting"),
        blocks_used=blocks.get("used", 0),
        blocks_all=sum(blocks.values()),
        descriptors={role: sum(p.num_fds() for p in found) for role, found in roles.items()},
        memory_mb={role: sum(map(resident_mb, found)) for role, found in roles.items()},
    )


def total(seen: dict[tuple[str, str], float], name: str) -> int:
    return int(sum(value for (sample, _), value in seen.items() if sample == name))


def resident_mb(process: psutil.Process) -> float:
    return round(float(process.memory_info().rss) / 1e6, 1)


def look_until_idle(url: str, pid: int, *, workers: int, since: float) -> Sight:
    """The first sight with nothing going on, or the last one when that takes too long."""
    deadline = time.monotonic() + QUIET_S
    while True:
        try:
            seen = look(url, pid, since=since)
            if (seen.is_idle and seen.workers == workers) or time.monotonic() > deadline:
                return seen
        except (httpx.HTTPError, psutil.Error):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
