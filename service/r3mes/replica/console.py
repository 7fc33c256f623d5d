"""What a person at the terminal sees of a start: a line for each phase, then how to ask.

Prints and knows nothing else.
"""

import sys
from typing import TextIO

from r3mes.engine.messages import ReplicaState

PHASES = {"starting": "start", "loading": "load", "warming": "warm"}


class Console:
    """`show` takes every state; on a terminal a phase's line is rewritten as it advances."""

    def __init__(self, url: str, out: TextIO = sys.stdout) -> None:
        self._url = url
        self._out = out
        self._live = out.isatty()
        self._line = ""
        self._phase = ""
        self._greeted = False

    def show(self, state: ReplicaState) -> None:
        if state.phase in PHASES:
            self._progress(state)
        elif state.phase == "ready" and not self._greeted:
            self._greeted = True
            self._end_line()
            self._print(greeting(state, self._url))
        elif state.phase == "draining" and self._phase != "draining":
            self._end_line()
            self._print("stopping: what was accepted is finished first\n")
        self._phase = state.phase

    def _progress(self, state: ReplicaState) -> None:
        percent = f"{state.progress:4.0%}"
        line = f"{PHASES[state.phase]:6} {percent}  {state.detail}"
        if self._live:
            self._print(
                f"\r\x1b[K{line}" if state.phase == self._phase else f"\n{line}"[not self._phase :]
            )
            self._line = line
        elif state.phase != self._phase:
            self._print(f"{line}\n")

    def _end_line(self) -> None:
        if self._line:
            self._print("\n")
            self._line = ""

    def _print(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def greeting(state: ReplicaState, url: str) -> str:
    """The address, and a request to paste."""
    name = state.model.name if state.model else ""
    took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in state.phase_seconds.items())
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    return (
        f"\n{name} is ready at {url} ({took})\n\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        f"    -d '{body}'\n\n"
    )
