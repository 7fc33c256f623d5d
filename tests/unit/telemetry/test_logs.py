"""A log line is one line, says who and what, and never more."""

import json
import logging
import sys

from r3mes.telemetry.logs import JsonLines, TextLines, access_fields
from support.reports import GOOD

HOSTILE = "first\nsecond \x1b[31m\u2028third"


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("r3mes.x", logging.WARNING, "", 0, message, (), None)
    made.__dict__.update(extra)
    return made


def test_a_json_line_holds_whatever_is_said_in_one_line() -> None:
    line = JsonLines("worker", "pod-1").format(record(HOSTILE, request_id="r"))

    told = json.loads(line)
    assert 1 == len(line.splitlines())
    assert (HOSTILE, "warning", "worker", "pod-1", "r") == (
        told["message"],
        told["level"],
        told["role"],
        told["replica"],
        told["request_id"],
    )


def test_a_text_line_escapes_what_would_break_it() -> None:
    line = TextLines().format(record(HOSTILE, request_id="a\nb"))

    assert 1 == len(line.splitlines())
    assert "first\\nsecond" in line
    assert "request_id=a\\nb" in line


def test_a_traceback_in_text_is_set_off() -> None:
    try:
        int(HOSTILE)
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()

    _, *trace = TextLines().format(failed).splitlines()

    assert trace
    assert all(line.startswith("    | ") for line in trace)


def test_the_line_of_a_request_names_ids_and_costs_and_leaves_out_what_is_not_known() -> None:
    fields = access_fields(GOOD)

    assert {
        "request_id": "r",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "method": "POST",
        "route": "/v1/completions",
        "status": 200,
        "ms": 11000.0,
        "model": "m",
        "stream": True,
        "finish": "stop",
        "prompt_tokens": 7,
        "cached_tokens": 0,
        "completion_tokens": 5,
        "ttft_ms": 6000.0,
    } == fields
