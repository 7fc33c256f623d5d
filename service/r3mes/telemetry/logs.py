"""How a log line looks, and the one line of each request. Knows no key, no prompt and no answer.

A line is one line whatever is in it: JSON escapes, and text is escaped here.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from r3mes.settings import TelemetrySettings
from r3mes.telemetry.report import RequestReport

STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}
NOISY = ("opentelemetry", "urllib3", "httpx", "asyncio")

access = logging.getLogger("r3mes.access")


class JsonLines(logging.Formatter):
    """One JSON object a line, with what the call gave as `extra`."""

    def __init__(self, role: str, replica: str) -> None:
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

    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in extra(record).items())
        line = f"{timestamp(record)} {record.levelname.lower():7} {record.getMessage()} {told}"
        line = one_line(line.rstrip())
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    | {one_line(part)}" for part in trace)
        return line


def configure(settings: TelemetrySettings, *, role: str, replica: str) -> logging.Handler:
    """Send every logger of this process to standard error in the chosen form."""
    logging.raiseExceptions = False  # a full disk must not stop the service
    handler = logging.StreamHandler(sys.stderr)
    as_json = form_of(settings) == "json"
    handler.setFormatter(JsonLines(role, replica) if as_json else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel("WARNING")
    return handler


def form_of(settings: TelemetrySettings) -> Literal["json", "text"]:
    """What `auto` means here."""
    if settings.log_format != "auto":
        return settings.log_format
    return "text" if sys.stderr.isatty() else "json"


def log_request(report: RequestReport) -> None:
    """The one line of a request."""
    if access.isEnabledFor(logging.INFO):
        access.info("request", extra=access_fields(report))


def access_fields(report: RequestReport) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": report.request_id,
        "trace_id": report.trace.trace_id,
        "span_id": report.trace.span_id,
        "key_id": report.key_id,
        "method": report.method,
        "route": report.route or "other",
        "status": report.status,
        "error": report.error_type,
        "ms": round(report.seconds * 1000, 1),
    }
    if report.operation is not None:
        fields |= {
            "model": report.model,
            "stream": report.stream,
            "finish": ",".join(report.finish_reasons) or None,
            "prompt_tokens": report.prompt_tokens,
            "cached_tokens": report.cached_tokens,
            "completion_tokens": report.completion_tokens,
        }
        if report.first_token is not None:
            fields["ttft_ms"] = round((report.first_token - report.started) * 1000, 1)
    return {name: value for name, value in fields.items() if value is not None}


def extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in STANDARD}


def timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_line(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
