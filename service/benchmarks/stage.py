"""Lets one server at a time run; those that take long to start are held between their turns.

So each takes all processors in its turn, and each round starts anew what starts quickly.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.servers import Server, Started, running


class Stage:
    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._held: dict[str, Started] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Stage":
        """Whoever ends the benchmark ends its servers with it."""
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))
        self._open.callback(signal.signal, signal.SIGTERM, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def log(self, server: Server) -> Path:
        return self._logs / f"{server.name.replace(' ', '-')}.log"

    @contextmanager
    def turn(self, server: Server) -> Iterator[Started]:
        """Raises RuntimeError when the server does not come up."""
        if not server.stays:
            with running(server, log=self.log(server)) as started:
                yield started
            return
        held = self._held.get(server.name)
        if held is None:
            held = self._open.enter_context(running(server, log=self.log(server)))
            self._held[server.name] = held
        try:
            held.go_on()
            yield held
        finally:
            held.hold()
