"""A real replica in its own processes: started with settings, asked over HTTP, stopped, left none.

with running_replica(tmp_path, {"engine.runner": "fake"}) as replica:
    replica.wait_ready()
    httpx.get(f"{replica.url}/readyz")
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

SERVICE = Path(__file__).parents[2] / "service"
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares httpx reading certificates each time
START_S = 90  # a busy machine; every wait ends as soon as there is something to see
POLL_S = 0.02

Settings = Mapping[str, object]


class Replica:
    """`r3mes replica` (or another command that serves) as a child of the test."""

    def __init__(
        self, folder: Path, settings: Settings, *, command: str = "replica", cwd: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "log"
        self.out_file = folder / "out"
        self._seen: set[psutil.Process] = set()
        with self.log_file.open("wb") as log, self.out_file.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "r3mes", command],
                cwd=cwd,
                env=environment(folder, settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    # What it says.

    @property
    def url(self) -> str:
        """Where it listens; known before it is ready. After a restart the newest address."""
        lines = wait_for(lambda: self.logged("listening") or self._dead(), "an address in the log")
        return str(lines[-1]["url"])

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The JSON log lines with this message."""
        whole = self.log.rpartition("\n")[0]  # the last line may still be being written
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["message"] == message]

    def probe(self, path: str = "/readyz") -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=10, verify=PLAIN)

    def is_ready(self) -> bool:
        try:
            return self.probe().status_code == 200
        except httpx.TransportError:
            self._dead()
            return False

    def wait_ready(self) -> "Replica":
        wait_for(self.is_ready, f"{self.url}/readyz to be 200", within=START_S)
        self.processes()
        return self

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Every sample as (name, label, value, label, value, …), labels in order of name."""
        families = text_string_to_metric_families(self.probe("/metrics").text)
        return {
            (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair)): (
                sample.value
            )
            for family in families
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and at least these labels."""
        wanted = {part for pair in labels.items() for part in pair}
        return sum(
            value for key, value in self.metrics().items() if key[0] == name and wanted <= set(key)
        )

    # Its processes.

    @property
    def supervisor(self) -> psutil.Process:
        """The process that owns engine and workers: our child, or below `serve` its child."""
        return self._one("r3mes.replica.web").parent() or psutil.Process(self.process.pid)

    @property
    def engine(self) -> psutil.Process:
        return self._one("r3mes.engine.process")

    @property
    def web(self) -> psutil.Process:
        """gunicorn's master."""
        return self._one("r3mes.replica.web")

    @property
    def workers(self) -> list[psutil.Process]:
        return self.web.children()

    def processes(self) -> list[psutil.Process]:
        """All of them that are alive, the supervisor included."""
        try:
            root = psutil.Process(self.process.pid)
            alive = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            alive = []
        self._seen.update(alive)
        return alive

    def _one(self, module: str) -> psutil.Process:
        found = [process for process in self.processes() if runs(process, module)]
        masters = [process for process in found if process.parent() not in found]
        assert len(masters) == 1, f"{module}: {found}"
        return masters[0]

    # Its end.

    def send(self, number: int) -> None:
        self.processes()
        self.process.send_signal(number)

    def wait_end(self, within: float = 30) -> int:
        """The exit status."""
        return self.process.wait(within)

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it in order; returns the exit status."""
        if self.process.poll() is None:
            self.send(number)
        return self.wait_end()

    def assert_no_process_left(self, within: float = 10) -> None:
        self.process.wait(within)  # first, for psutil would take the exit status away
        _, alive = psutil.wait_procs(self._seen, timeout=within)
        assert [] == alive

    def kill(self) -> None:
        """Whatever state it is in, leave nothing behind."""
        for process in self.processes():
            try_to(process.kill)
        self.process.wait(10)
        for process in self._seen:
            try_to(process.kill)

    def _dead(self) -> None:
        code = self.process.poll()
        assert code is None, f"it ended with {code}:\n{self.log}"


@contextmanager
def running_replica(
    folder: Path, settings: Settings, *, command: str = "replica", cwd: Path | None = None
) -> Iterator[Replica]:
    """Stopped at the end if it still runs, and then nothing of it may be left."""
    replica = Replica(folder, settings, command=command, cwd=cwd)
    try:
        yield replica
        if replica.process.poll() is None:
            replica.stop()
        replica.assert_no_process_left()
    finally:
        replica.kill()


def environment(folder: Path, settings: Settings) -> dict[str, str]:
    """This process's environment with our settings alone, by their dotted names."""
    path = [str(SERVICE), os.environ.get("PYTHONPATH")]
    ours = {"server.port": 0, "engine.threads": 1, "telemetry.log_format": "json", **settings}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("R3MES_")},
        **{f"R3MES_{name.replace('.', '__').upper()}": str(it) for name, it in ours.items()},
        "PYTHONPATH": os.pathsep.join(filter(None, path)),  # an empty part is the current folder
        "PYTHONUNBUFFERED": "1",
    }


def wait_for(see: Callable[[], Any], what: str, *, within: float = 30) -> Any:
    """What `see` returns as soon as it is true; fails when that takes too long."""
    deadline = time.monotonic() + within
    while not (seen := see()):
        assert time.monotonic() < deadline, f"waited {within} s for {what}"
        time.sleep(POLL_S)
    return seen


def runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline()
    except psutil.Error:
        return False


def try_to(act: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()
