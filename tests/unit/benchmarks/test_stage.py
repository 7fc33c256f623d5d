"""Servers between their turns, with real processes."""

import os
import sys
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.servers import Server, Started
from benchmarks.stage import Stage

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Peer(BaseHTTPRequestHandler):
    ready = False  # once it was asked for it; lost with every answer

    def do_GET(self):
        self.send_response(200 if Peer.ready else 503)
        self.end_headers()
        Peer.ready = self.path == "/ready"

HTTPServer(("127.0.0.1", int(sys.argv[-1])), Peer).serve_forever()
"""


def server(start_s: float) -> Server:
    return Server("a peer", "1", (sys.executable, "-c", SERVER), "/ready", start_s=start_s)


def answers(started: Started) -> bool:
    """Only after it was seen to be ready."""
    return httpx.get(started.url, timeout=5).status_code == 200


def status(started: Started) -> str:
    """After the signal has arrived."""
    deadline = time.monotonic() + 5
    process = psutil.Process(started.process.pid)
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.status()


def test_one_that_starts_slowly_is_held_between_its_turns(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        with stage.turn(server(150)) as first:
            assert answers(first)
        assert psutil.STATUS_STOPPED == status(first)

        with stage.turn(server(150)) as second:
            assert answers(second)

    assert first.process.pid == second.process.pid
    assert first.process.poll() is not None


def test_one_that_starts_quickly_starts_anew(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        with stage.turn(server(1)) as first:
            assert answers(first)
        assert first.process.poll() is not None

        with stage.turn(server(1)) as second:
            assert answers(second)

    assert first.process.pid != second.process.pid
    assert ["a-peer.log"] == os.listdir(tmp_path)
