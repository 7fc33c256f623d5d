"""Runs the commands of a page as they stand there, in the namespace of a case.

Only a port that may be in use on this machine and the name of the image are others.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e.clients import Program, forwarding
from e2e.releases import PORT

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND_S = 300


class Terminal:
    def __init__(self, kubectl: Program, helm: Program, instead: Mapping[str, str] = {}) -> None:
        programs = {"kubectl": kubectl, "helm": helm}
        functions = [
            f'{name}() {{ "{it.path}" --namespace {kubectl.namespace} "$@"; }}'
            for name, it in programs.items()
        ]
        self._begin = "set -e; " + "; ".join(functions)
        self._environ = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
        self._port = free_port()
        self._instead = dict(instead)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __call__(self, line: str) -> str:
        """What it printed."""
        done = subprocess.run(
            self._command(self._begin, line),
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def left_running(self, line: str) -> Iterator[None]:
        """A port-forward."""
        begin = self._begin.replace('{ "', '{ exec "')  # so that it is the process ended below
        with forwarding(self._command(begin, line), self._environ):
            yield

    def _command(self, begin: str, line: str) -> list[str]:
        line = line.replace(f" {PORT}:", f" {self._port}:").replace(f":{PORT}/", f":{self._port}/")
        for written, meant in self._instead.items():
            line = line.replace(written, meant)
        return ["bash", "-c", f"{begin}; {line}"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def indented(notes: str) -> list[str]:
    """The commands of the chart's notes, joined where they go on."""
    lines = re.findall(r"^  (\S.*)", notes.replace("\\\n", " "), re.MULTILINE)
    return [line for line in lines if line.startswith(("kubectl", "curl", "helm"))]


def blocks(page: str, heading: str) -> list[str]:
    """The blocks of commands below a heading of a page of docs/."""
    text = (ROOT / "docs" / page).read_text()
    _, below = text.split(f"\n## {heading}\n")
    return BLOCK.findall(below.split("\n## ")[0])
