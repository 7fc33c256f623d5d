"""kubectl and helm as the cases use them: by their own programs, as a user would."""

import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
COMMAND_S = 300


class Refused(AssertionError):
    """A command failed; the message is what it said."""


@dataclass(frozen=True)
class Program:
    """Speaks to one cluster, by default in one namespace."""

    path: Path
    kubeconfig: Path
    namespace: str = ""

    def within(self, namespace: str) -> "Program":
        return replace(self, namespace=namespace)

    def __call__(self, *arguments: str, given: str = "", timeout_s: float = COMMAND_S) -> str:
        done = self.attempt(*arguments, given=given, timeout_s=timeout_s)
        if done.returncode:
            raise Refused(f"{self.path.name} {' '.join(arguments)}:\n{done.stderr}")
        return done.stdout

    def attempt(
        self, *arguments: str, given: str = "", timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """What it said, failed or not: warnings are on its stderr."""
        return subprocess.run(
            self.command(*arguments),
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def command(self, *arguments: str) -> list[str]:
        where = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.path), "--kubeconfig", str(self.kubeconfig), *where, *arguments]


class Kubectl(Program):
    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    def apply(self, *objects: Mapping[str, Any]) -> str:
        """What it warned of."""
        every = {"apiVersion": "v1", "kind": "List", "items": objects}
        done = self.attempt("apply", "-f", "-", given=json.dumps(every))
        if done.returncode:
            raise Refused(done.stderr)
        return done.stderr

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def items(self, *what: str) -> list[Any]:
        found: list[Any] = self.get(*what)["items"]
        return found

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """The address on this machine that `kubectl port-forward` leads to the port from."""
        command = self.command("port-forward", "--address", "127.0.0.1", target, f":{port}")
        with forwarding(command) as url:
            yield url


@contextmanager
def forwarding(command: list[str], environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address on this machine that a port-forward listens at, while it runs.

    It tells of each connection, and would stand still once its pipe is full: so it is read on.
    """
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.readline()
        reading = Thread(target=deque, args=[process.stdout, 0])
        reading.start()
        try:
            found = FORWARDING.search(said)
            assert found, f"port-forward ended: {said}"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            reading.join()


def wait_until(what: str, is_so: Any, *, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s in vain until {what}"
        time.sleep(0.2)
