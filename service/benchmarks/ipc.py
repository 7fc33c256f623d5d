"""What a message between engine and API worker costs, in the ways it could be sent.

A child echoes what it gets; the message is the news of one step for sixteen streams. Writes
docs/benchmarks/ipc.md.
"""

import argparse
import json
import multiprocessing
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import zmq

from benchmarks.machine import describe_machine
from r3mes.engine.messages import Delivery, Update, delivery, encode

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"
MESSAGE = Delivery([Update(stream, [stream + 1000]) for stream in range(16)])
SIZE = struct.Struct("!I")
STOP = b""

Send = Callable[[bytes], None]
Receive = Callable[[], bytes]
Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def zeromq(folder: Path) -> tuple[tuple[Send, Receive], Callable[[], None]]:
    """DEALER to ROUTER, as the service does it."""
    address = f"ipc://{folder}/socket"

    def child() -> None:
        router = zmq.Context().socket(zmq.ROUTER)
        router.bind(address)
        while (frames := router.recv_multipart())[1] != STOP:
            router.send_multipart(frames)

    def connect() -> tuple[Send, Receive]:
        dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        dealer.connect(address)
        return dealer.send, dealer.recv

    return connect(), child


def unix_stream(folder: Path) -> tuple[tuple[Send, Receive], Callable[[], None]]:
    """A socket with length-prefixed messages, written by hand."""
    ours, theirs = socket.socketpair()

    def pair(end: socket.socket) -> tuple[Send, Receive]:
        file = end.makefile("rb")

        def send(data: bytes) -> None:
            end.sendall(SIZE.pack(len(data)) + data)

        def receive() -> bytes:
            return file.read(SIZE.unpack(file.read(SIZE.size))[0])

        return send, receive

    def child() -> None:
        send, receive = pair(theirs)
        while (data := receive()) != STOP:
            send(data)

    return pair(ours), child


def pipe(folder: Path) -> tuple[tuple[Send, Receive], Callable[[], None]]:
    """multiprocessing's own pipe."""
    ours, theirs = multiprocessing.Pipe()

    def child(end: Connection = theirs) -> None:
        while (data := end.recv_bytes()) != STOP:
            end.send_bytes(data)

    return (ours.send_bytes, ours.recv_bytes), child


def to_json(message: Any) -> bytes:
    return json.dumps(msgspec.to_builtins(message)).encode()


WAYS: dict[str, tuple[Callable[..., Any], Encode, Decode]] = {
    "ZeroMQ, typed msgpack (msgspec)": (zeromq, encode, delivery.decode),
    "Unix socket, typed msgpack (msgspec)": (unix_stream, encode, delivery.decode),
    "multiprocessing pipe, typed msgpack (msgspec)": (pipe, encode, delivery.decode),
    "ZeroMQ, JSON (standard library)": (zeromq, to_json, json.loads),
}


def round_trips(way: Callable[..., Any], to: Encode, back: Decode, *, count: int) -> list[float]:
    """Seconds of each round trip, encoding and decoding included."""
    with tempfile.TemporaryDirectory(prefix="ipc-") as folder:
        (send, receive), child = way(Path(folder))
        process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
        process.start()
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            send(to(MESSAGE))
            back(receive())
            times.append(time.perf_counter() - begin)
        send(STOP)
        process.join(5)
    return times[count // 10 :]  # without the first, which warm up


def coding(to: Encode, back: Decode, *, count: int) -> float:
    """Seconds to encode and decode once."""
    begin = time.perf_counter()
    for _ in range(count):
        back(to(MESSAGE))
    return (time.perf_counter() - begin) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "ipc.md")
    asked = parser.parse_args()
    lines = [
        "# What a message between two processes costs",
        "",
        "The news of one step for sixteen streams, echoed by another process; medians of "
        f"{asked.rounds} rounds of {asked.count}, encoding and decoding included.",
        f"Machine: {describe_machine()}.",
        f"Taken {datetime.now(UTC).isoformat(timespec='seconds')} by `python -m benchmarks.ipc`.",
        "",
        "| way | bytes | round trip p50, us | p99, us | encode and decode, us |",
        "|---|---|---|---|---|",
    ]
    for name, (way, to, back) in WAYS.items():
        rounds = [round_trips(way, to, back, count=asked.count) for _ in range(asked.rounds)]
        p50 = statistics.median(statistics.median(times) for times in rounds) * 1e6
        p99 = statistics.median(sorted(t)[int(len(t) * 0.99)] for t in rounds) * 1e6
        code = coding(to, back, count=asked.count) * 1e6
        lines.append(f"| {name} | {len(to(MESSAGE))} | {p50:.0f} | {p99:.0f} | {code:.1f} |")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("\n".join(lines) + "\n")
    sys.stdout.write(asked.out.read_text())


if __name__ == "__main__":
    main()
