"""The parent of the API workers: gunicorn, configured here. `python -m r3mes.replica.web`.

It forks workers, replaces those that die or hang and tells the supervisor whose pid is gone. Knows
the shape of its own configuration and of uvicorn's; nothing of requests.
"""

import gc
import logging
import os
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn_worker import UvicornWorker

from r3mes.engine import lifeline as pipe
from r3mes.replica import exits, lifeline
from r3mes.replica.http_limits import protocol_class
from r3mes.replica.worker import Worker
from r3mes.settings import Settings
from r3mes.telemetry import logs

HUNG_S = 30  # a worker whose loop stood still for so long is replaced


class FoldedLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's lines in our form and on our handler."""

    def setup(self, cfg: Any) -> None:
        self.error_log.handlers = logging.getLogger().handlers
        self.error_log.setLevel(max(logging.WARNING, logging.getLogger().level))
        self.access_log.handlers = []


class Parent(Arbiter):  # type: ignore[misc]
    """Ends with its own parent."""

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        signals: list[int] = super().wait_for_signals(timeout)
        if lifeline.is_cut():
            os._exit(pipe.PARENT_GONE)  # the workers hold the same pipe and see it too
        return signals


class Web(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, *, folder: Path, listener: int, exits: int) -> None:
        self._settings = settings
        self._folder = folder
        self._listener = listener
        self._exits_end = exits
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._config().items():
            self.cfg.set(name, value)

    def load(self) -> Worker:
        """The ASGI application of one worker; runs in it, after the fork."""
        logs.configure(self._settings.telemetry, role="worker")
        return Worker(self._settings, folder=self._folder)

    def run(self) -> None:
        Parent(self).run()

    def _config(self) -> dict[str, Any]:
        return {
            "bind": f"fd://{self._listener}",
            "workers": self._settings.server.workers,
            "worker_class": worker_class(self._settings),
            "timeout": HUNG_S,
            # The supervisor stops gunicorn when nothing is left to do; others may be less patient.
            "graceful_timeout": int(self._settings.drain.timeout_s) + 10,
            "worker_tmp_dir": str(self._folder),
            "logger_class": FoldedLog,
            "post_fork": self._after_fork,
            "child_exit": self._tell_exit,
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
        }

    def _after_fork(self, parent: Arbiter, worker: UvicornWorker) -> None:
        lifeline.tie_to_parent(parent.pid)
        pipe.watch()
        os.close(self._exits_end)  # its end of file means that the parent is gone

    def _tell_exit(self, parent: Arbiter, worker: UvicornWorker) -> None:
        exits.tell(self._exits_end, worker.pid)


def worker_class(settings: Settings) -> type[UvicornWorker]:
    class ApiWorker(UvicornWorker):  # type: ignore[misc]
        CONFIG_KWARGS = {  # noqa: RUF012 - uvicorn's way to configure
            "loop": "uvloop",
            "http": protocol_class(settings.server),
            "ws": "none",
            "lifespan": "on",
            "interface": "asgi3",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
            "timeout_keep_alive": settings.server.keep_alive_s,
        }

    return ApiWorker


def main() -> None:
    payload = lifeline.read_payload()
    lifeline.tie_to_parent(payload["parent"])
    settings = Settings(**payload["settings"])
    logs.configure(settings.telemetry, role="web")
    gc.freeze()  # what was imported is shared by all workers; a collection would copy its pages
    Web(
        settings,
        folder=Path(payload["run_dir"]),
        listener=payload["listener"],
        exits=payload["exits"],
    ).run()


if __name__ == "__main__":
    main()
