"""A finished request to vary."""

from r3mes.telemetry.report import RequestReport, Trace

TRACE = Trace(trace_id="ab" * 16, span_id="cd" * 8, sampled=False)

GOOD = RequestReport(
    trace=TRACE,
    request_id="r",
    key_id=None,
    method="POST",
    route="/v1/completions",
    status=200,
    error_type=None,
    started=99.0,
    started_ns=0,
    ended=110.0,
    operation="text_completion",
    model="m",
    response_id="cmpl-r",
    stream=True,
    params={"max_tokens": 9},
    finish_reasons=("stop",),
    choices=1,
    prompt_tokens=7,
    cached_tokens=0,
    completion_tokens=5,
    unknown_fields=0,
    queued=100.0,
    scheduled=102.0,
    first_token=105.0,
    finished=109.0,
    first_chunk=105.5,
)
