"""Every metric that something is added to: its name, kind, labels and buckets, defined once.

What is only read off a snapshot or is another view of these numbers stands in `views`.
"""

from dataclasses import dataclass
from typing import Literal

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


@dataclass(frozen=True)
class Instrument:
    name: str  # without the `_total` that a counter gets when it is shown
    kind: Literal["counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()  # shown from the start, as 0


def counter(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "counter", text, labels, series=() if labels else ((),))


def histogram(name: str, buckets: tuple[float, ...], text: str, *labels: str) -> Instrument:
    return Instrument(name, "histogram", text, labels, buckets)


REQUESTS = counter(
    "r3mes_requests",
    "Requests answered; status 499 is a client that left.",
    *("route", "status", "finish"),
)
TOKENS = Instrument(
    "r3mes_tokens",
    "counter",
    "Tokens of the usage that clients were told.",
    ("kind",),
    series=(("prompt",), ("generated",), ("reasoning",)),
)
UNKNOWN_FIELDS = counter("r3mes_unknown_fields", "Request fields that nothing here knows.")
SPANS_DROPPED = counter("r3mes_spans_dropped", "Spans that never reached the collector.")
STEP_SECONDS = histogram("r3mes_step_seconds", STEP, "Time of one engine step.", "kind")
STEP_TOKENS = histogram("r3mes_step_tokens", COUNTS, "Tokens fed in one engine step.", "kind")

OPERATION = "gen_ai_operation_name"
ERROR = "error_type"
DURATION = histogram(
    "gen_ai_server_request_duration_seconds",
    SECONDS,
    "Time from the request to the end of its answer.",
    *(OPERATION, ERROR),
)
TTFT = histogram(
    "gen_ai_server_time_to_first_token_seconds",
    FIRST_TOKEN,
    "Queue and prefill of successful requests.",
    OPERATION,
)
TPOT = histogram(
    "gen_ai_server_time_per_output_token_seconds",
    PER_TOKEN,
    "Decode time of a successful request divided by its tokens but the first.",
    OPERATION,
)
INTER_TOKEN = histogram(
    "vllm:inter_token_latency_seconds",
    PER_TOKEN,
    "Gaps between tokens, each counted with the mean gap of its request.",
)
QUEUE = histogram("vllm:request_queue_time_seconds", SECONDS, "Time in the line.")
PREFILL = histogram("vllm:request_prefill_time_seconds", SECONDS, "Time of the prompt's steps.")
DECODE = histogram("vllm:request_decode_time_seconds", SECONDS, "First token to last.")
PROMPT_TOKENS = histogram("vllm:request_prompt_tokens", COUNTS, "Prompt tokens of a request.")
OUTPUT_TOKENS = histogram("vllm:request_generation_tokens", COUNTS, "Tokens made for a request.")
MAX_TOKENS = histogram(
    "vllm:request_max_num_generation_tokens", COUNTS, "Most tokens that a request allowed."
)

INSTRUMENTS = {
    each.name: each
    for each in (
        *(REQUESTS, TOKENS, UNKNOWN_FIELDS, SPANS_DROPPED, STEP_SECONDS, STEP_TOKENS),
        *(DURATION, TTFT, TPOT, INTER_TOKEN, QUEUE, PREFILL, DECODE),
        *(PROMPT_TOKENS, OUTPUT_TOKENS, MAX_TOKENS),
    )
}
