"""The servers of the comparison: how each is started, where it was found, what version it is.

Owns their flags. Knows nothing of load or figures.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.gguf_model import gguf_of
from r3mes import __version__

START_S = 180
STOP_S = 20


@dataclass(frozen=True)
class Server:
    name: str
    version: str
    command: tuple[str, ...]  # without the address, which comes last
    ready: str  # path that answers 200 when it serves
    model: str = "model"  # what requests call it
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_command(self) -> str:
        """With the folders of this machine left out."""
        return " ".join(Path(part).name if "/" in part else part for part in self.command)


@dataclass(frozen=True)
class Missing:
    name: str
    reason: str


def ours(model: Path, *, threads: int) -> Server:
    """Without drafts: random weights soon repeat themselves, which trained ones seldom do."""
    command = (sys.executable, "-m", "r3mes", "replica", "--model", str(model))
    return Server(
        name="R3MES",
        version=__version__,
        command=(*command, "--name", "model", "--device", "cpu", "--dtype", "float32"),
        ready="/readyz",
        environment={
            "R3MES_ENGINE__THREADS": str(threads),
            "R3MES_ENGINE__PROMPT_LOOKUP": "false",
        },
    )


def llama_server(model: Path, *, threads: int, streams: int) -> Server | Missing:
    """LLAMA_SERVER names the program; as many slots as streams, 512 tokens for each."""
    program = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if not program or not Path(program).is_file():
        return Missing("llama-server", "no such program; LLAMA_SERVER=path names one")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    slots = ("-np", str(streams), "-c", str(streams * 512), "-t", str(threads))
    return Server(
        name="llama-server",
        version=next(iter((said.stderr or said.stdout).splitlines()), "unknown").strip(),
        command=(program, "-m", str(gguf_of(model)), *slots),
        ready="/health",
    )


def transformers_serve(model: Path, *, threads: int) -> Server | Missing:
    program = Path(sys.executable).with_name("transformers")
    if not program.is_file():
        return Missing("transformers serve", "transformers is not installed beside this Python")
    kind = ("--device", "cpu", "--dtype", "float32", "--continuous-batching")
    batching = ("--cb-num-blocks", "128", "--cb-max-batch-tokens", "512")
    return Server(
        name="transformers serve",
        version=version("transformers"),
        command=(str(program), "serve", str(model), *kind, *batching),
        ready="/health",
        model=str(model),
        environment={"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
    )


@contextmanager
def running(server: Server, *, log: Path) -> Iterator[tuple[str, float]]:
    """The address of the started server and the seconds until it was ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [*server.command, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield url, wait_ready(process, f"{url}{server.ready}")
    finally:
        stop(process)


def wait_ready(process: "subprocess.Popen[bytes]", url: str) -> float:
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < START_S:
        if process.poll() is not None:
            raise RuntimeError(f"It ended with {process.returncode} before it served.")
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
            return waited
        time.sleep(0.1)
    raise RuntimeError(f"It did not serve within {START_S} s.")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, then make the whole group."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(line: str) -> None:
    """To the terminal of whoever waits."""
    sys.stderr.write(f"{line}\n")
