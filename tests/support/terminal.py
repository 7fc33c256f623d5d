"""A terminal in which a test types: the program on the other side believes in a user."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from support.command_line import clean_environment
from support.replica import wait_for

CTRL_C, CTRL_D = "\x03", "\x04"
REST_S = 0.1


class Terminal:
    def __init__(self, fd: int, process: "subprocess.Popen[bytes]") -> None:
        self.fd = fd
        self.process = process
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.fd, text.encode())

    def wait_for(self, text: str, *, within: float = 30) -> str:
        """What was shown since the last typing or wait, up to and with `text`."""
        deadline = time.monotonic() + within
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {text!r}, saw {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                with suppress(OSError):  # the other side has ended
                    self.seen += os.read(self.fd, 4096).decode(errors="replace")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def wait_for_prompt(self) -> None:
        """Until the prompt stands there and the program rests, waiting for a key.

        A Ctrl-C that comes between the two is noticed at the next key only: readline looks for
        signals before it begins to wait. A program that writes may sleep for a moment too, so it
        rests only when nothing has woken it for a while.
        """
        self.wait_for("> ")
        wait_for(self._rests, "a program at rest")

    def _rests(self) -> bool:
        program = psutil.Process(self.process.pid)
        woken = program.num_ctx_switches()
        time.sleep(REST_S)
        return program.status() == psutil.STATUS_SLEEPING and woken == program.num_ctx_switches()

    def wait_end(self) -> int:
        return self.process.wait(30)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """Runs `r3mes` with these arguments in a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "r3mes", *arguments],
        env=clean_environment({"TERM": "dumb"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    """As a shell that a user types into: it ignores no Ctrl-C, as what runs in the background does
    and hands on to its children."""
    import fcntl
    import signal
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
