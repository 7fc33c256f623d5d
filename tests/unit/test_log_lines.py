"""A log line is one line, says who and what, and never more."""

import json
import logging
import sys

from r3mes.log_lines import JsonLines, TextLines

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
    line = TextLines("worker").format(record(HOSTILE, request_id="a\nb"))

    assert 1 == len(line.splitlines())
    assert "warning worker: first\\nsecond" in line
    assert "request_id=a\\nb" in line


def test_a_traceback_in_text_is_set_off() -> None:
    try:
        int(HOSTILE)
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()

    _, *trace = TextLines("worker").format(failed).splitlines()

    assert trace
    assert all(line.startswith("    | ") for line in trace)


def test_a_traceback_in_json_is_part_of_the_object() -> None:
    failed = record("failed")
    try:
        int(HOSTILE)
    except ValueError:
        failed.exc_info = sys.exc_info()

    told = json.loads(JsonLines("engine", "pod-1").format(failed))

    assert "ValueError" in told["exception"]


def test_the_time_is_that_of_the_world_in_milliseconds() -> None:
    early = record("early")
    early.created = 0.25

    told = json.loads(JsonLines("engine", "pod-1").format(early))

    assert "1970-01-01T00:00:00.250Z" == told["time"]
