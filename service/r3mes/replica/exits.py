"""The pipe on which the workers' parent says whose process is gone. Plain, so that a fork is safe.

Knows the form of a message: one pid.
"""

import asyncio
import os
import struct
from collections.abc import Callable

PID = struct.Struct("=i")


class Exits:
    """`gone` gets each pid. The write end is for the child."""

    def __init__(self, gone: Callable[[int], None]) -> None:
        self._gone = gone
        self._read_end, self.write_end = os.pipe()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_end, self._receive)

    def close_write_end(self) -> None:
        os.close(self.write_end)

    def close(self) -> None:
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)

    def _receive(self) -> None:
        news = os.read(self._read_end, PID.size * 64)
        if not news:
            self._loop.remove_reader(self._read_end)  # the parent is gone; its own exit says it
        for (pid,) in PID.iter_unpack(news):
            self._gone(pid)


def tell(write_end: int, pid: int) -> None:
    os.write(write_end, PID.pack(pid))
