"""What a person at the terminal sees of a start: a line for each phase, then how to ask.

Prints and knows nothing else.
"""

import contextlib
import sys
import time
from typing import TextIO

from r3mes.engine.messages import ReplicaState

PHASES = {"starting": "start", "loading": "load", "warming": "warm"}
KEY_LINE = '    -H "Authorization: Bearer $OPENAI_API_KEY" \\\n'
WORTH_TELLING_S = 0.05
QUIET_S = 1.0  # where lines cannot be rewritten, one phase says no more than this


class Console:
    """`show` takes every state; on a terminal a phase's line is rewritten as it advances.

    `locked` says that a request needs a key.
    """

    def __init__(self, url: str, *, locked: bool, out: TextIO = sys.stdout) -> None:
        self._url = url
        self._locked = locked
        self._out = out
        self._live = out.isatty()
        self._phase = ""
        self._detail = ""
        self._printed = 0.0
        self._open_line = False
        self._greeted = False

    def show(self, state: ReplicaState) -> None:
        if state.phase in PHASES:
            self._progress(state)
        elif state.phase == "ready" and not self._greeted:
            self._greeted = True
            self._end_line()
            self._print(greeting(state, self._url, locked=self._locked))
        elif state.phase == "draining" and self._phase != "draining":
            self._end_line()
            self._print("stopping: what was accepted is finished first\n")
        elif state.phase == "failed":
            self._end_line()  # the reason follows on standard error
        self._phase, self._detail = state.phase, state.detail

    def _progress(self, state: ReplicaState) -> None:
        line = f"{PHASES[state.phase]:6}{state.progress:5.0%}  {state.detail}"
        same_phase = state.phase == self._phase
        if self._live:
            if not same_phase:
                self._end_line()
            self._print(f"\r\x1b[K{line}")
            self._open_line = True
        elif not same_phase or (state.detail != self._detail and self._is_time()):
            self._print(f"{line}\n")

    def _is_time(self) -> bool:
        return time.monotonic() - self._printed > QUIET_S

    def _end_line(self) -> None:
        if self._open_line:
            self._print("\n")
            self._open_line = False

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        with contextlib.suppress(OSError):  # nobody reads any more
            self._out.write(text)
            self._out.flush()


def greeting(state: ReplicaState, url: str, *, locked: bool) -> str:
    """The address, and a request to paste; a key is left to the shell to fill in."""
    name = state.model.name if state.model else ""
    spent = {phase: took for phase, took in state.phase_seconds.items() if took >= WORTH_TELLING_S}
    took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in spent.items())
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    key = KEY_LINE if locked else ""
    return (
        f"\n{name} is ready at {url} ({took})\n\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        f"{key}    -d '{body}'\n\n"
    )
