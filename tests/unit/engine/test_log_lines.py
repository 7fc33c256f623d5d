"""The engine's log lines: one object a line, whatever is in the message."""

import json
import logging
import sys

from r3mes.engine.log_lines import JsonLines, TextLines


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    info = None
    if failed:
        try:
            json.loads("boom")
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("r3mes.engine.loop", logging.ERROR, "", 0, message, (), info)
    made.created = 0.25
    return made


def test_a_json_line_is_one_object() -> None:
    line = JsonLines().format(record("one\ntwo"))
    told = json.loads(line)

    assert 1 == len(line.splitlines())
    assert ("1970-01-01T00:00:00.250Z", "error", "engine", "one\ntwo") == (
        told["time"],
        told["level"],
        told["role"],
        told["message"],
    )


def test_a_json_line_carries_the_traceback() -> None:
    told = json.loads(JsonLines().format(record("failed", failed=True)))

    assert "JSONDecodeError" in told["exception"]


def test_a_text_line_is_one_line_and_its_traceback_follows() -> None:
    first, *trace = TextLines().format(record("one\ntwo", failed=True)).splitlines()

    assert first.endswith("error   engine: one\\ntwo")
    assert "JSONDecodeError" in trace[-1]
