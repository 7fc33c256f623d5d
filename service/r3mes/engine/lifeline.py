"""The tie to the parent: what it said on standard input, and that this process ends with it.

The parent writes one line and then holds the pipe open in silence: its end is the parent's end.
"""

import ctypes
import os
import signal
import sys
import threading

STDIN = 0
PARENT_GONE = 70  # exit status of a process that outlived its parent
PR_SET_PDEATHSIG = 1


def read_line() -> bytes:
    """The parent's line; ends the process if there is no parent any more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(STDIN, 1 << 16)
        if not part:
            os._exit(PARENT_GONE)
        line += part
    return bytes(line)


def ask_kernel() -> None:
    """The same from the kernel: it also ends a process that cannot run Python. Linux can alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def watch() -> None:
    """End this process when the parent is gone, whatever its other threads are doing."""
    threading.Thread(target=_wait_for_end, name="lifeline", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(STDIN, 1 << 16):
        pass
    os._exit(PARENT_GONE)
