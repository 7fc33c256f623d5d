"""The line of a request."""

from r3mes.telemetry.logs import access_fields
from support.reports import GOOD


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
