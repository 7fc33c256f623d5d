"""What is logged of requests, and in which form. Knows no key, no prompt and no answer."""

import logging
import sys
from typing import Any

from r3mes.log_lines import Form, Role, log_to_stderr
from r3mes.settings import TelemetrySettings
from r3mes.telemetry.report import RequestReport

access = logging.getLogger("r3mes.access")


def configure(settings: TelemetrySettings, *, role: Role) -> None:
    """Everything that this process logs goes to standard error as settings say."""
    log_to_stderr(settings.log_level, form_of(settings), role=role)


def form_of(settings: TelemetrySettings) -> Form:
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
