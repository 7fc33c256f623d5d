"""What an HTTP layer costs: the same two endpoints in several frameworks, one process each.

The server has one processor and the client another; the order alternates from round to round and
medians are compared. Writes docs/benchmarks/http.md. Peers that are not installed are named.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.http_apps import EVENTS, PACE
from benchmarks.http_load import BODY, ECHO, OUR_STREAM, STREAM, Streamed, echo_speed, stream_all
from benchmarks.machine import describe_machine
from benchmarks.progress import say
from benchmarks.servers import free_port, stop, wait_ready
from r3mes import __version__

OTHERS = Path(__file__).parent / "http_others"
STEP_MS = 20  # of the paced streams; a token each
RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"


@dataclass(frozen=True)
class Peer:
    name: str
    package: str | None  # whose version is shown
    command: Callable[[int], list[str]]
    echo: bytes = ECHO
    stream: bytes = STREAM
    ready: str = "/sse"
    api: str = ""  # word in the command line of the child that speaks HTTP, if it is a child
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """`…_per_core_s` are those of a second that the process which speaks HTTP computes."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    events_per_s: float
    events_per_core_s: float
    events_a_read: float
    paced_per_core_s: float  # at the pace of a model


def uvicorn(app: str, *, factory: bool = True) -> Callable[[int], list[str]]:
    fixed = ["--loop", "uvloop", "--http", "httptools", "--log-level", "error", "--no-access-log"]

    def command(port: int) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port), *(["--factory"] if factory else [])]
        return [sys.executable, "-m", "uvicorn", f"benchmarks.http_apps:{app}", *where, *fixed]

    return command


def gunicorn_flask(port: int) -> list[str]:
    threads = ["-k", "gthread", "-w", "1", "--threads", "64", "--log-level", "error"]
    address = ["-b", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", *address, *threads, "benchmarks.http_apps:flask()"]


def tornado(port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.http_apps", str(port)]


def node(port: int) -> list[str]:
    return ["node", str(OTHERS / "server.js"), str(port)]


def go_program() -> str:
    """Built once, into a folder of temporary files."""
    program = Path(tempfile.mkdtemp(prefix="http-servers-")) / "server"
    environment = {**os.environ, "GO111MODULE": "off", "GOFLAGS": ""}
    build = ["go", "build", "-o", str(program), str(OTHERS / "server.go")]
    subprocess.run(build, check=True, env=environment)
    return str(program)


def ours(port: int) -> list[str]:
    return [sys.executable, "-m", "r3mes", "replica", "--port", str(port)]


OURS = Peer(
    name=f"R3MES {__version__}",
    package=None,
    command=ours,
    echo=b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    stream=OUR_STREAM,
    ready="/readyz",
    api="r3mes.replica.web",
    environment={
        "R3MES_ENGINE__RUNNER": "fake",
        "R3MES_ENGINE__MAX_BATCH": "256",
        "R3MES_TELEMETRY__LOG_LEVEL": "warning",
    },
)
PYTHON_PEERS = (
    Peer("bare ASGI on uvicorn", "uvicorn", uvicorn("asgi", factory=False)),
    Peer("Starlette", "starlette", uvicorn("starlette")),
    Peer("FastAPI", "fastapi", uvicorn("fastapi")),
    Peer("Tornado", "tornado", tornado),
    Peer("Flask, gunicorn threads", "flask", gunicorn_flask),
    Peer("Django, ASGI", "django", uvicorn("django")),
)


def find_peers() -> tuple[list[Peer], list[str]]:
    peers, missing = [OURS], []
    for peer in PYTHON_PEERS:
        try:
            shown = f"{peer.name} {version(str(peer.package))}"
            peers.append(Peer(shown, peer.package, peer.command))
        except PackageNotFoundError:
            missing.append(f"{peer.name} is not installed; requirements/bench.txt holds it")
    if shutil.which("node"):
        peers.append(Peer(f"Node {said('node', '--version')}", None, node))
    else:
        missing.append("Node is not installed")
    if shutil.which("go"):
        program = go_program()
        shown = said("go", "version").split()[2].removeprefix("go")
        peers.append(Peer(f"Go {shown}", None, lambda port: [program, str(port)]))
    else:
        missing.append("Go is not installed")
    return peers, missing


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def serving(
    peer: Peer, asked: argparse.Namespace, *, pace_ms: int
) -> Iterator[tuple[int, list[int]]]:
    """The port of a running server, and the processes that speak HTTP."""
    port = free_port()
    pace = {PACE: str(pace_ms), "R3MES_ENGINE__FAKE_STEP_MS": str(pace_ms)}
    process = subprocess.Popen(
        ["taskset", "-c", asked.server_cpu, *peer.command(port)],
        env={**os.environ, **peer.environment, **pace},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_ready(process, f"http://127.0.0.1:{port}{peer.ready}")
        below = children_of(process.pid, peer.api)
        api = below if peer.api else [process.pid, *below]
        if not api:
            raise RuntimeError(f"No process of {peer.name} is {peer.api}.")
        yield port, api
    finally:
        stop(process)


def measure(peer: Peer, asked: argparse.Namespace) -> Speed:
    def stream(port: int, api: list[int]) -> tuple[Streamed, float]:
        before = sum(map(computed_s, api))
        seen = uvloop.run(stream_all(port, streams=asked.streams, asked=peer.stream))
        return seen, asked.streams * EVENTS / (sum(map(computed_s, api)) - before)

    with serving(peer, asked, pace_ms=0) as (port, api):
        echo = echo_speed(
            port, connections=asked.connections, seconds=asked.seconds, asked=peer.echo
        )
        times = sorted(uvloop.run(echo))
        seen, per_core = stream(port, api)
    with serving(peer, asked, pace_ms=STEP_MS) as (port, api):
        stream(port, api)  # what the first streams cost is no event's
        _, paced = stream(port, api)
    return Speed(
        requests_per_s=len(times) / asked.seconds,
        p50_ms=median(times) * 1000,
        p99_ms=times[int(len(times) * 0.99)] * 1000,
        events_per_s=seen.events / seen.seconds,
        events_per_core_s=per_core,
        events_a_read=seen.events / seen.reads,
        paced_per_core_s=paced,
    )


def children_of(parent: int, word: str) -> list[int]:
    """The processes below `parent` whose command line has the word; all, if it is empty."""
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
            found += children_of(child, word)
    return found


def computed_s(process: int) -> float:
    """Seconds that a processor has worked for it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    asked = arguments()
    os.sched_setaffinity(0, {int(asked.client_cpu)})
    peers, missing = find_peers()
    speeds: dict[str, list[Speed]] = {peer.name: [] for peer in peers}
    for round_ in range(asked.rounds):
        for peer in peers if round_ % 2 == 0 else reversed(peers):
            speeds[peer.name].append(measure(peer, asked))
            say(f"round {round_ + 1}: {peer.name}: {speeds[peer.name][-1]}")
    write(asked, speeds, missing)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of echo in each round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--server-cpu", default="0")
    parser.add_argument("--client-cpu", default="1")
    parser.add_argument("--out", type=Path, default=RESULTS / "http.md")
    return parser.parse_args()


def write(asked: argparse.Namespace, speeds: dict[str, list[Speed]], missing: list[str]) -> None:
    lines = [
        "# What an HTTP layer costs",
        "",
        f"One process a server, on a processor of its own; {asked.rounds} rounds, alternating; "
        "medians [lowest - highest].",
        f"Echo: {asked.connections} connections, a chat request of {len(BODY)} bytes parsed, "
        "a small object back.",
        f"SSE: {asked.streams} streams of {EVENTS} events, each encoded on its own; "
        "a core's second is one of the process that speaks HTTP.",
        f"Paced: each stream has an event every {STEP_MS} ms, as a model would give them. "
        "Else all events come as fast as can be:",
        "the engine of R3MES then runs ahead of its HTTP process, "
        "which writes the events of several steps at once; the others write each.",
        "R3MES makes up its tokens in another process, which shares that processor; "
        "its echo is GET /v1/models.",
        f"Machine: {describe_machine()}.",
        f"Taken {datetime.now(UTC).isoformat(timespec='seconds')} by "
        "`python -m benchmarks.http_servers`.",
        "",
        "| server | echo, requests/s | p50 / p99, ms | SSE, events/s | events a read "
        "| in a core's second | paced, in a core's second |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rounds in speeds.items():
        times = f"{median(r.p50_ms for r in rounds):.1f} / {median(r.p99_ms for r in rounds):.0f}"
        requests = spread([r.requests_per_s for r in rounds])
        events = spread([r.events_per_s for r in rounds])
        per_core = spread([r.events_per_core_s for r in rounds])
        a_read = f"{median(r.events_a_read for r in rounds):.1f}"
        paced = spread([r.paced_per_core_s for r in rounds])
        lines.append(
            f"| {name} | {requests} | {times} | {events} | {a_read} | {per_core} | {paced} |"
        )
    lines += ["", *(f"- Left out: {reason}." for reason in missing)]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("\n".join(lines).rstrip() + "\n")
    facts = {name: [asdict(speed) for speed in rounds] for name, rounds in speeds.items()}
    asked.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    sys.stdout.write(asked.out.read_text())


def spread(values: list[float]) -> str:
    return f"{median(values):,.0f} [{min(values):,.0f} - {max(values):,.0f}]"


if __name__ == "__main__":
    main()
