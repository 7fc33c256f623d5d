"""The parent of one replica on one machine: starts it again when it dies, and says so.

Knows exit statuses and backoff. Everything else is the replica's.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from r3mes.replica.processes import Child, Children, describe_exit
from r3mes.replica.supervisor import CANNOT_START, READY, spell_out
from r3mes.settings import Settings

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a replica that lived so long earns the first pause again


class Serve:
    def __init__(self, settings: Settings) -> None:
        self._payload = {"settings": spell_out(settings)}
        self._children = Children()
        self._replica: Child | None = None
        self._was_ready = False  # then a start that fails met something that passes
        self._stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Until a signal, or a start that cannot work."""
        self._children.open()
        with self._signals():
            try:
                return await self._keep_alive()
            finally:
                self._children.close()

    async def _keep_alive(self) -> int:
        pause = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._live_once()
            if self._stopped.done():
                return code if code >= 0 else 128 + self._stopped.result()
            if code == CANNOT_START and not self._was_ready:
                return code
            if loop.time() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            say(f"the replica died ({describe_exit(code)}); starting it again in {pause:.0f} s")
            await asyncio.wait({self._stopped}, timeout=pause)
            if self._stopped.done():
                return 128 + self._stopped.result()
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _live_once(self) -> int:
        """One replica from its start to its exit status."""
        said, tie = os.pipe()
        try:
            self._replica = self._children.start(
                "replica",
                "r3mes.replica.supervisor",
                {**self._payload, "tie": tie},
                pass_fds=(tie,),
            )
            os.close(tie)
            code = await self._replica.exited
            self._replica = None
            self._was_ready |= os.read(said, len(READY)) == READY
        finally:
            os.close(said)
        return code

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._pass_on, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _pass_on(self, number: int) -> None:
        if not self._stopped.done():
            self._stopped.set_result(number)
        if self._replica is not None:
            self._replica.signal(number)


def say(text: str) -> None:
    sys.stderr.write(f"r3mes: {text}{os.linesep}")
    sys.stderr.flush()


def run_serve(settings: Settings) -> int:
    """Serve until told to stop; returns the exit status."""

    async def serve() -> int:
        return await Serve(settings).run()

    return asyncio.run(serve())
