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

from benchmarks.gguf_model import Kind, gguf_of
from r3mes import __version__

OURS = "R3MES"
START_S = 300
STOP_S = 5
LONG_START_S = 10


@dataclass(frozen=True)
class Server:
    name: str
    version: str
    command: tuple[str, ...]  # without the address, which comes last
    ready: str  # path that answers 200 when it serves
    model: str = "model"  # what requests call it
    environment: Mapping[str, str] = field(default_factory=dict)
    most: int = 1 << 20  # streams at a time that it is asked for
    bursts: bool = False  # whether a burst of prompts is to be compared
    slower: float = 1  # how many times as long a request takes it as others, about
    start_s: float = 5  # about what a start takes

    @property
    def stays(self) -> bool:
        """Its starts take too long for one in each round."""
        return self.start_s > LONG_START_S

    @property
    def shown_command(self) -> str:
        """With the folders of this machine left out."""
        return " ".join(Path(part).name if "/" in part else part for part in self.command)


@dataclass(frozen=True)
class Missing:
    name: str
    reason: str


def ours(model: Path, *, threads: int, most: int = 64, weights: str = "float32") -> Server:
    """Without drafts: random weights soon repeat themselves, which trained ones seldom do."""
    command = (sys.executable, "-m", "r3mes", "replica", "--model", str(model))
    return Server(
        name=OURS if weights == "float32" else f"{OURS} {weights}",
        version=__version__,
        command=(*command, "--name", "model", "--device", "cpu", "--dtype", "float32"),
        ready="/readyz",
        environment={
            "R3MES_MODEL__WEIGHTS": weights,
            "R3MES_ENGINE__THREADS": str(threads),
            "R3MES_ENGINE__PROMPT_LOOKUP": "false",
        },
        most=most,
        bursts=weights == "float32",
        slower=0.8 if weights == "float32" else 0.4,
        start_s=4 + 9.5 * (model / "model.safetensors").stat().st_size / 1e9,
    )


def bundled() -> Server:
    """With nothing but defaults."""
    return Server(
        name=OURS,
        version=__version__,
        command=(sys.executable, "-m", "r3mes", "replica"),
        ready="/readyz",
        start_s=6,
    )


def llama_server(
    model: Path, *, threads: int, streams: int, kind: Kind = "f32"
) -> Server | Missing:
    """LLAMA_SERVER names the program; as many slots as streams, 512 tokens for each.

    With q8_0 it is asked for at most 16 streams: at 64 it takes long and gains a tenth.
    """
    name = "llama-server" if kind == "f32" else f"llama-server {kind}"
    program = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if not program or not Path(program).is_file():
        return Missing(name, "no such program; LLAMA_SERVER=path names one")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    streams = streams if kind == "f32" else min(streams, 16)
    slots = ("-np", str(streams), "-c", str(streams * 512), "-t", str(threads))
    return Server(
        name=name,
        version=next(iter((said.stderr or said.stdout).splitlines()), "unknown").strip(),
        command=(program, "-m", str(gguf_of(model, kind)), *slots),
        ready="/health",
        most=streams,
        bursts=kind == "f32",
        slower=1 if kind == "f32" else 0.8,
        start_s=2,
    )


def vllm_cpu(model: Path, *, threads: int, streams: int) -> Server | Missing:
    """VLLM names the program of a CPU build; bound to all cores, else it keeps one for itself."""
    program = os.environ.get("VLLM") or shutil.which("vllm")
    if not program or not Path(program).is_file():
        return Missing("vLLM", "no such program; VLLM=path names one, of a CPU build")
    kind = ("--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", str(streams))
    return Server(
        name="vLLM",
        version=version_of(program),
        command=(program, "serve", str(model), *kind, "--no-enable-prefix-caching"),
        ready="/health",
        model=str(model),
        most=streams,
        bursts=True,
        start_s=150,
        environment={
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
            "VLLM_CPU_KVCACHE_SPACE": "4",
            "HF_HUB_OFFLINE": "1",
        },
    )


def version_of(program: str) -> str:
    """As the Python beside the program knows it; asking the program itself takes a minute."""
    asked = "import importlib.metadata as m; print(m.version('vllm'))"
    python = str(Path(program).with_name("python"))
    said = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def transformers_serve(model: Path, *, threads: int) -> Server | Missing:
    """At most 16 at a time: at 64 most of its answers fail."""
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
        most=16,
        slower=2.5,
        start_s=12,
    )


def fastapi_generate(model: Path, *, threads: int) -> Server:
    """One at a time: more would wait for each other."""
    return Server(
        name="FastAPI + generate",
        version=f"{version('fastapi')}, transformers {version('transformers')}",
        command=(sys.executable, "-m", "benchmarks.generate_app", str(model)),
        ready="/health",
        environment={"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        most=1,
        slower=3,
        start_s=9,
    )


@dataclass(frozen=True)
class Started:
    process: "subprocess.Popen[bytes]"
    url: str
    ready: str  # whole address
    after_s: float  # until it was ready

    def hold(self) -> None:
        """It takes no processor until it goes on."""
        signal_all(self.process, signal.SIGSTOP)

    def go_on(self) -> None:
        """It may have to notice first that its parts still live."""
        signal_all(self.process, signal.SIGCONT)
        wait_ready(self.process, self.ready)


@contextmanager
def running(server: Server, *, log: Path) -> Iterator[Started]:
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
        ready = f"{url}{server.ready}"
        yield Started(process, url, ready, wait_ready(process, ready))
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
    signal_all(process, signal.SIGCONT)  # if it was held
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    signal_all(process, signal.SIGKILL)
    process.wait()


def signal_all(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """What of its group still lives."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
