"""Streams under way while something happens to the cluster, and what became of each.

with running_load(url, tmp_path / "load", streams=8) as load:
    load.wait_live()
    …
assert [] == load.failures
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import Kubectl, wait_until

TESTS = Path(__file__).parents[1]
STOP_S = 180  # until the last stream under way is whole
ROUTE_S = 10  # until a Service that has a ready pod leads to it
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"


@dataclass(frozen=True)
class Ended:
    """A stream that is over. Times are seconds of one clock."""

    began: float
    first: float  # event; 0 where none came
    last: float
    silence: float  # the longest between two arrivals
    arrivals: int
    keeps: bool  # its connection was made before it, or is used after it
    failure: str  # empty where it is whole


class Load:
    """The program that asks, and its ledger."""

    def __init__(self, command: list[str], ledger: Path, *, streams: int) -> None:
        self._ledger = ledger
        self._streams = streams
        with ledger.open("wb") as told:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
                stdin=subprocess.PIPE,
                stdout=told,
                text=True,
            )

    @property
    def live(self) -> int:
        """Streams that have begun to answer and go on."""
        seen = self._seen()
        return sum(it["saw"] == "first" for it in seen) - sum(bool(it.get("first")) for it in seen)

    @property
    def ended(self) -> list[Ended]:
        return [Ended(**it) for it in self._seen() if it.pop("saw") == "end"]

    @property
    def failures(self) -> list[str]:
        return [it.failure for it in self.ended if it.failure]

    def wait_live(self, count: int = 0, *, within_s: float = 60) -> None:
        wanted = count or self._streams
        wait_until(f"{wanted} streams live", lambda: self.live >= wanted, within_s=within_s)

    def wait_over(self, *, within_s: float) -> None:
        """Of a load with a number of rounds."""
        assert 0 == self._process.wait(within_s)

    def stop(self) -> None:
        """What is under way comes to its end first."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        assert 0 == self._process.wait(STOP_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _seen(self) -> list[dict[str, Any]]:
        whole = self._ledger.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]


@contextmanager
def running_load(
    url: str,
    ledger: Path,
    *,
    streams: int = 8,
    max_tokens: int = 800,  # enough that a client is seldom between two streams
    rounds: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Load]:
    """Half of the streams over connections that are kept. Rounds: streams of each client, or
    without end."""
    command = [sys.executable, "-m", "e2e.streaming", url, f"--streams={streams}"]
    command += [f"--max-tokens={max_tokens}", f"--rounds={rounds}"]
    for name, value in (headers or {}).items():
        command += ["--header", name, value]
    load = Load(command, ledger, streams=streams)
    try:
        yield load
        load.stop()
    finally:
        load.kill()


def address_of(kubectl: Kubectl, service: str) -> str:
    """Of a Service, as it is known to this machine; where it is not, the case is skipped."""
    spec = kubectl.get("service", service)["spec"]
    host, port = spec["clusterIP"], str(spec["ports"][0]["port"])
    deadline = time.monotonic() + ROUTE_S
    while not leads(host, port):
        if time.monotonic() > deadline:
            pytest.skip(f"the Service {service} at {host}:{port} is not reachable from here")
        time.sleep(0.2)
    return f"http://{host}:{port}"


def leads(host: str, port: str) -> bool:
    """Asked by another process: tests open no connections that leave this machine."""
    asked = [sys.executable, "-c", REACH, host, port]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
