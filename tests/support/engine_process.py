"""A real engine process with the fake runner, and the two who talk to it: supervisor and worker."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from r3mes.engine.messages import (
    EngineReport,
    Message,
    Request,
    SamplingParams,
    Submit,
    Update,
    delivery,
    encode,
    to_hub,
)

PATIENCE_MS = 20_000


def request(stream: int, prompt: list[int], **wishes: Any) -> Request:
    params = SamplingParams(**{"max_tokens": 8, **wishes})
    return Request([Submit(stream, f"r{stream}", prompt, params, None)])


class Worker:
    """An API worker's end of the engine's socket."""

    def __init__(self, context: zmq.Context[Any], folder: Path, name: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"ipc://{folder / 'engine.sock'}")

    def send(self, *messages: Message) -> None:
        """All of them at once."""
        self.socket.send_multipart([encode(message) for message in messages])

    def submit(self, stream: int, prompt: list[int], **wishes: Any) -> None:
        self.send(request(stream, prompt, **wishes))

    def updates(self) -> list[Update]:
        """The next delivery."""
        return delivery.decode(self.socket.recv()).updates

    def until_end(self, stream: int) -> list[Update]:
        """All news of one stream up to its finish; that of others is dropped."""
        seen: list[Update] = []
        while not (seen and seen[-1].finish):
            seen += [update for update in self.updates() if update.stream == stream]
        return seen


class EngineProcess:
    def __init__(self, folder: Path, *, libraries: Path | None, **engine: Any) -> None:
        self.folder = folder
        self.context: zmq.Context[Any] = zmq.Context()
        self.hub = self.context.socket(zmq.ROUTER)
        self.hub.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.hub.setsockopt(zmq.LINGER, 0)
        self.hub.bind(f"ipc://{folder / 'hub.sock'}")
        path = sys.path if libraries is None else [str(libraries), *sys.path]
        self._workers: list[Worker] = []
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "r3mes.engine.process"],
                stdin=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        self.tell(json.dumps(self.orders(**engine)).encode())

    def orders(self, **engine: Any) -> dict[str, Any]:
        chosen = {"runner": "fake", "max_batch": 8, **engine}
        return {"run_dir": str(self.folder), "model": {}, "engine": chosen}

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def report(self) -> EngineReport:
        report = to_hub.decode(self.hub.recv_multipart()[-1])
        assert isinstance(report, EngineReport)
        return report

    def report_where(self, wanted: Callable[[EngineReport], bool]) -> EngineReport:
        while not wanted(report := self.report()):
            pass
        return report

    def send(self, message: Message) -> None:
        """As the supervisor does."""
        self.hub.send_multipart([b"engine", encode(message)])

    def worker(self, name: str = "w1") -> Worker:
        worker = Worker(self.context, self.folder, name)
        self._workers.append(worker)  # or it would be collected, unclosed, before `stop`
        return worker

    def logged(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        self.context.destroy(linger=0)
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextlib.contextmanager
def engine_process(*, libraries: Path | None = None, **engine: Any) -> Iterator[EngineProcess]:
    """`engine` are EngineSettings; `libraries` is a folder whose modules are found first."""
    with tempfile.TemporaryDirectory(prefix="r3mes-") as folder:
        running = EngineProcess(Path(folder), libraries=libraries, **engine)
        try:
            yield running
        finally:
            running.stop()
