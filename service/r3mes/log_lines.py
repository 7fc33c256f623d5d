"""How a log line of any of our processes looks, and where it goes. Knows nothing of what is logged.

A line is one line whatever is in it: JSON escapes, and text is escaped here.
"""

import json
import logging
import os
import socket
import sys
from datetime import UTC, datetime
from typing import Any, Literal

Form = Literal["json", "text"]
Role = Literal["supervisor", "engine", "web", "worker"]
STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}
NOISY = ("opentelemetry", "urllib3", "httpx", "asyncio")


class JsonLines(logging.Formatter):
    """One JSON object a line, with what the call gave as `extra`."""

    def __init__(self, role: Role, replica: str) -> None:
        super().__init__()
        self._who = {"role": role, "replica": replica}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._who,
            "pid": os.getpid(),
            **extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """For people; control characters are escaped, and a traceback's lines are set off."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in extra(record).items())
        said = f"{self._role}: {record.getMessage()} {told}".rstrip()
        line = one_line(f"{timestamp(record)} {record.levelname.lower():7} {said}")
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    | {one_line(part)}" for part in trace)
        return line


def log_to_stderr(level: str, form: Form, *, role: Role) -> None:
    """Send every logger of this process to standard error in this form."""
    logging.raiseExceptions = False  # a full disk must not stop the service
    handler = logging.StreamHandler(sys.stderr)
    as_json = form == "json"
    handler.setFormatter(JsonLines(role, socket.gethostname()) if as_json else TextLines(role))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel("WARNING")


def extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in STANDARD}


def timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_line(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
