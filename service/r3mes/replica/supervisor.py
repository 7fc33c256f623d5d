"""Process 1 of a replica: starts the engine and the API workers, and ends with them or by a signal.

Owns signals, the children, the hub and the order of the end. Knows nothing of requests and models.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3mes.engine.lifeline import STDIN
from r3mes.engine.messages import ReplicaState
from r3mes.errors import StartError
from r3mes.replica import last_words, lifeline, memory_kills
from r3mes.replica.console import Console
from r3mes.replica.drain import drain
from r3mes.replica.exits import Exits
from r3mes.replica.hub import Hub
from r3mes.replica.keys import load_keys
from r3mes.replica.places import check_template, listen, run_folder, url_of
from r3mes.replica.processes import Children, describe_exit
from r3mes.settings import Settings
from r3mes.telemetry import logs
from r3mes.telemetry.metrics import ReplicaMetrics

FAILED = 1  # exit status when a part died, so that a restart may help
CANNOT_START = 2  # nothing that a restart would change; the CLI's status for a StartError
ANSWER_S = 2.0  # time that workers have to answer what was in flight when the engine died
LAST_WORD_S = 0.5  # time in which the last report of an engine that gave up arrives
WEB_GRACE_S = 6.0  # closing connections, sending the last spans
FAILED_WEB_GRACE_S = 2.0  # nothing is left to wait for
ENGINE_GRACE_S = 2.0
READY = b"r"

log = logging.getLogger("r3mes.replica")  # this module may run as __main__


@dataclass(frozen=True)
class Stop:
    """Somebody wants the replica to end."""

    signal: int


@dataclass(frozen=True)
class Failure:
    """The replica cannot go on. `told` is a part's own word that it never could, not its death."""

    reason: str
    told: bool


@dataclass(frozen=True)
class ParentGone:
    """Whoever started us is dead."""


Cause = Stop | Failure | ParentGone


class Supervisor:
    def __init__(self, settings: Settings, *, announce: bool, tie: int | None) -> None:
        self._settings = settings
        self._announce = announce
        self._tie = tie
        self._told_ready = False
        self._causes: asyncio.Queue[Cause] = asyncio.Queue()
        self._children = Children()
        self._memory_kills = memory_kills.watch()

    async def run(self) -> int:
        """The exit status; raises StartError when the start cannot work."""
        last_words.clear(self._settings.termination_log)
        keys = load_keys(self._settings)  # a bad list is told here, not by a failing worker
        check_template(self._settings.model.chat_template)
        with (
            contextlib.closing(listen(self._settings.server)) as listener,
            run_folder() as folder,
            self._signals(),
        ):
            self._open_hub(folder, url_of(listener), locked=keys.exist)
            try:
                self._start_children(folder, listener)
                return await self._live()
            finally:
                self._children.close()
                self._exits.close()
                self._hub.close()

    # The start.

    def _open_hub(self, folder: Path, url: str, *, locked: bool) -> None:
        console = Console(url, locked=locked) if self._announce else None
        log.info("listening", extra={"url": url})
        self._hub = Hub(
            folder,
            workers=self._settings.server.workers,
            metrics=ReplicaMetrics(),
            on_state=lambda state: self._notice(state, console),
            on_worker_failure=lambda reason: self._causes.put_nowait(Failure(reason, told=True)),
        )
        self._exits = Exits(self._hub.worker_exited)
        self._children.open()

    def _start_children(self, folder: Path, listener: socket.socket) -> None:
        self._engine = self._children.start(
            "engine", "r3mes.engine.process", self._engine_payload(folder)
        )
        self._engine.exited.add_done_callback(lambda exited: self._engine_exited(exited.result()))
        self._web = self._children.start(
            "web",
            "r3mes.replica.web",
            self._web_payload(folder, listener),
            pass_fds=(listener.fileno(), self._exits.write_end),
        )
        self._web.exited.add_done_callback(lambda exited: self._web_exited(exited.result()))
        self._exits.close_write_end()
        listener.close()  # with the workers' parent gone, the address is free

    def _engine_payload(self, folder: Path) -> dict[str, Any]:
        return {
            "run_dir": str(folder),
            "model": self._settings.model.model_dump(mode="json"),
            "engine": self._settings.engine.model_dump(mode="json"),
            "log_level": self._settings.telemetry.log_level,
            "log_format": logs.form_of(self._settings.telemetry),
        }

    def _web_payload(self, folder: Path, listener: socket.socket) -> dict[str, Any]:
        return {
            "run_dir": str(folder),
            "settings": spell_out(self._settings),
            "parent": os.getpid(),
            "listener": listener.fileno(),
            "exits": self._exits.write_end,
        }

    # What happens.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._causes.put_nowait, Stop(number))
        if self._tie is not None:
            loop.add_reader(STDIN, self._notice_parent)
        try:
            yield
        finally:
            loop.remove_reader(STDIN)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _notice_parent(self) -> None:
        if not os.read(STDIN, 1):
            asyncio.get_running_loop().remove_reader(STDIN)
            self._causes.put_nowait(ParentGone())

    def _notice(self, state: ReplicaState, console: Console | None) -> None:
        if console is not None:
            console.show(state)
        report = self._hub.status.report
        if report is not None and report.phase == "failed" and self._hub.status.failure is None:
            self._causes.put_nowait(Failure(report.detail, told=True))
        if self._tie is not None and self._hub.status.was_ready and not self._told_ready:
            self._told_ready = True
            with contextlib.suppress(OSError):  # the parent is gone, which standard input tells
                os.write(self._tie, READY)

    def _engine_exited(self, code: int) -> None:
        reason = self._why("The engine", code)
        delay = LAST_WORD_S if code > 0 else 0.0
        loop = asyncio.get_running_loop()
        loop.call_later(delay, self._causes.put_nowait, Failure(reason, told=False))

    def _web_exited(self, code: int) -> None:
        reason = self._why("The parent of the API workers", code)
        self._causes.put_nowait(Failure(reason, told=False))

    def _why(self, part: str, code: int) -> str:
        reason = f"{part} ended: {describe_exit(code)}."
        killed = code == -signal.SIGKILL
        return f"{reason} {self._memory_kills.told()}".rstrip() if killed else reason

    # The end.

    async def _live(self) -> int:
        cause = await self._causes.get()
        if isinstance(cause, Stop):
            between = await self._drain(cause)
            if between is None:
                await self._stop_children(web_grace=WEB_GRACE_S)
                return 0
            cause = between
        match cause:
            case Stop(number):
                log.warning("stopping at once")
                return 128 + number
            case ParentGone():
                return FAILED
            case Failure():
                return await self._fail(cause)

    async def _drain(self, stop: Stop) -> Cause | None:
        """None when it went to its end, else what came between."""
        wanted = self._settings.drain
        at_a_terminal = stop.signal == signal.SIGINT
        lingers = self._hub.status.was_ready and not at_a_terminal
        draining = asyncio.create_task(
            drain(
                self._hub,
                linger_s=wanted.linger_s if lingers else 0.0,
                timeout_s=wanted.timeout_s,
            )
        )
        between = asyncio.create_task(self._causes.get())
        await asyncio.wait({draining, between}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, between):
            task.cancel()
        await asyncio.wait({draining, between})
        if not between.cancelled():
            return between.result()
        return draining.result()

    async def _fail(self, failure: Failure) -> int:
        was_ready = self._hub.status.was_ready
        self._hub.fail(failure.reason)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._hub.idle()
        self._engine.kill()
        await self._stop_children(web_grace=FAILED_WEB_GRACE_S)
        if failure.told and not was_ready:
            raise StartError(failure.reason)
        last_words.leave(self._settings.termination_log, failure.reason)
        log.error("the replica ends", extra={"reason": failure.reason})
        return FAILED

    async def _stop_children(self, *, web_grace: float) -> None:
        await self._web.stop(grace=web_grace)
        await self._engine.stop(grace=ENGINE_GRACE_S)


def spell_out(settings: Settings) -> dict[str, Any]:
    """Settings as JSON for a child's standard input, with the keys that a dump would mask."""
    plain = settings.model_dump(mode="json")
    if settings.api_keys is not None:
        plain["api_keys"] = settings.api_keys.get_secret_value()
    return plain


def run_replica(settings: Settings, *, announce: bool | None = None, tie: int | None = None) -> int:
    """Serve until told to stop; returns the exit status. Raises StartError.

    `announce` prints the progress of the start for people, by default on a terminal. With a `tie`
    the replica ends when standard input does, and writes READY to that descriptor once it is.
    """
    logs.configure(settings.telemetry, role="supervisor")
    if announce is None:
        announce = sys.stdout.isatty()
    try:
        return asyncio.run(Supervisor(settings, announce=announce, tie=tie).run())
    except StartError as error:
        last_words.leave(settings.termination_log, error.message)
        raise


def main() -> int:
    """`python -m r3mes.replica.supervisor`: a replica as the child of `r3mes serve`."""
    payload = lifeline.read_payload()
    try:
        return run_replica(Settings(**payload["settings"]), announce=True, tie=payload["tie"])
    except StartError as error:
        sys.stderr.write(f"r3mes: {error.message}\n")
        return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
