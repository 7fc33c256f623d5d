"""What the dashboard shows: rows of panels, each with its queries. Knows not Grafana's format."""

from dataclasses import dataclass
from typing import Literal

CHOSEN = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'  # for `@` in a query
FAILED = 'error_type=~"internal_error|engine_crash|deadline_exceeded"'
ENDED = "gen_ai_server_request_duration_seconds_count"


@dataclass(frozen=True)
class Panel:
    title: str
    help: str
    queries: dict[str, str]  # by legend
    unit: str = "short"
    kind: Literal["timeseries", "stat", "heatmap", "bargauge"] = "timeseries"
    width: int = 8
    stacked: bool = False


def stat(title: str, help_text: str, query: str, unit: str = "short") -> Panel:
    return Panel(title, help_text, {"": query}, unit, "stat", width=3)


def rate(metric: str, labels: str = "", *, by: str = "") -> str:
    chosen = f"{labels}, @" if labels else "@"
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{chosen}}}[$__rate_interval]))"


def mean(metric: str, *, by: str = "") -> str:
    return f"{rate(f'{metric}_sum', by=by)} / {rate(f'{metric}_count', by=by)}"


def quantile(share: float, metric: str, *, by: str = "") -> str:
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', by=kept)})"


def quantiles(metric: str) -> dict[str, str]:
    return {f"p{share * 100:.0f}": quantile(share, metric) for share in (0.5, 0.95, 0.99)}


REPLICA = "{{instance}} {{pod}}"
BY_REPLICA = "instance, pod"
ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        stat(
            "Ready replicas",
            "Warm and taking requests.",
            'sum(r3mes_phase{phase="ready", @})',
        ),
        stat("Requests", "Answered in a second.", rate("r3mes_requests_total"), "reqps"),
        stat("Running", "Sequences in the batches.", "sum(r3mes_requests_running{@})"),
        stat("Waiting", "Sequences in the lines.", "sum(r3mes_requests_waiting{@})"),
        stat(
            "Batches filled",
            "Running sequences as a share of those that could run at once.",
            "sum(r3mes_requests_running{@}) / sum(r3mes_capacity{@})",
            "percentunit",
        ),
        stat(
            "First token, p95",
            "19 of 20 requests had it sooner.",
            quantile(0.95, "gen_ai_server_time_to_first_token_seconds"),
            "s",
        ),
        stat(
            "Generated",
            "Tokens in a second.",
            rate("r3mes_tokens_total", 'kind="generated"'),
        ),
        stat(
            "Failed",
            "Share of the requests that ended with an error that is not the client's doing.",
            f"({rate(ENDED, FAILED)} or vector(0)) / {rate(ENDED)}",
            "percentunit",
        ),
    ),
    "Requests": (
        Panel(
            "Answers",
            "By route and status; 499 is a client that left.",
            {"{{status}} {{route}}": rate("r3mes_requests_total", by="status, route")},
            "reqps",
            stacked=True,
        ),
        Panel(
            "Errors",
            "By code; a stream that breaks has the status 200 and is seen here alone.",
            {"{{error_type}}": rate(ENDED, 'error_type!=""', by="error_type")},
            "reqps",
            stacked=True,
        ),
        Panel(
            "Ends of answers",
            "`length` is an answer cut by its token limit.",
            {"{{finish}}": rate("r3mes_requests_total", 'finish!=""', by="finish")},
            "reqps",
            stacked=True,
        ),
    ),
    "Latency": (
        Panel(
            "First token",
            "Queue and prompt of requests that succeeded.",
            quantiles("gen_ai_server_time_to_first_token_seconds"),
            "s",
        ),
        Panel(
            "Time per token",
            "Of the tokens after the first.",
            quantiles("gen_ai_server_time_per_output_token_seconds"),
            "s",
        ),
        Panel(
            "Whole request",
            "From the request to the end of its answer, errors included.",
            quantiles("gen_ai_server_request_duration_seconds"),
            "s",
        ),
        Panel(
            "Where the time goes",
            "Mean of each part; a long line asks for replicas, a long prefill for shorter prompts.",
            {
                "in the line": mean("vllm:request_queue_time_seconds"),
                "prompt": mean("vllm:request_prefill_time_seconds"),
                "answer": mean("vllm:request_decode_time_seconds"),
            },
            "s",
            width=12,
            stacked=True,
        ),
        Panel(
            "First token, all of them",
            "How many requests waited how long.",
            {
                "{{le}}": "sum by (le) (increase("
                "gen_ai_server_time_to_first_token_seconds_bucket{@}[$__rate_interval]))"
            },
            "s",
            "heatmap",
            width=12,
        ),
    ),
    "Engines": (
        Panel(
            "In the line",
            "Sequences that wait, by replica.",
            {REPLICA: f"sum by ({BY_REPLICA}) (r3mes_requests_waiting{{@}})"},
        ),
        Panel(
            "In the batch",
            "Sequences that run, by replica, and how many can.",
            {
                REPLICA: f"sum by ({BY_REPLICA}) (r3mes_requests_running{{@}})",
                "one replica's most": "max(r3mes_capacity{@})",
            },
        ),
        Panel(
            "Steps",
            "Of the engines, in a second, by what they held.",
            {"{{kind}}": rate("r3mes_step_seconds_count", by="kind")},
            "ops",
        ),
        Panel(
            "Time of a step",
            "p95 by kind: `prefill` holds prompts alone, `mixed` prompts and running answers.",
            {"{{kind}}": quantile(0.95, "r3mes_step_seconds", by="kind")},
            "s",
        ),
        Panel(
            "Tokens in a step",
            "Mean by kind: how much one pass through the weights is used for.",
            {"{{kind}}": mean("r3mes_step_tokens", by="kind")},
        ),
        Panel(
            "Heartbeat",
            "Time since the engine last reported; above 5 s the replica is not ready.",
            {REPLICA: f"max by ({BY_REPLICA}) (r3mes_engine_heartbeat_age_seconds{{@}})"},
            "s",
        ),
    ),
    "Tokens": (
        Panel(
            "Tokens",
            "In a second, as clients were told in `usage`.",
            {"{{kind}}": rate("r3mes_tokens_total", by="kind")},
        ),
        Panel(
            "Length of a prompt",
            "Tokens.",
            quantiles("vllm:request_prompt_tokens"),
        ),
        Panel(
            "Length of an answer",
            "Tokens, and how many requests allow at most.",
            {
                **quantiles("vllm:request_generation_tokens"),
                "allowed, p50": quantile(0.5, "vllm:request_max_num_generation_tokens"),
            },
        ),
    ),
    "KV cache": (
        Panel(
            "In use",
            "Share of the blocks that hold running sequences.",
            {
                REPLICA: f'sum by ({BY_REPLICA}) (r3mes_kv_blocks{{state="used", @}})'
                f" / sum by ({BY_REPLICA}) (r3mes_kv_blocks{{@}})"
            },
            "percentunit",
            width=6,
        ),
        Panel(
            "Blocks",
            "`cached` ones are free for taking and still hold a reusable prefix.",
            {"{{state}}": "sum by (state) (r3mes_kv_blocks{@})"},
            width=6,
            stacked=True,
        ),
        Panel(
            "Reused prefixes",
            "Share of the prompt tokens that were not computed again.",
            {
                "reused": rate("r3mes_prefix_tokens_total", 'result="hit"')
                + " / "
                + rate("r3mes_prefix_tokens_total")
            },
            "percentunit",
            width=6,
        ),
        Panel(
            "Put back or ended early",
            "Preempted for want of blocks; ended because the client left, by a deadline, an error.",
            {
                "preempted": rate("r3mes_preemptions_total"),
                "ended: {{reason}}": rate("r3mes_aborts_total", by="reason"),
            },
            width=6,
        ),
        Panel(
            "Tokens guessed ahead",
            "From what stood before in prompt and answer; an accepted one needed no step.",
            {"{{result}}": rate("r3mes_draft_tokens_total", by="result")},
            width=6,
        ),
    ),
    "Replicas": (
        Panel(
            "Phases",
            "Replicas in each.",
            {"{{phase}}": "sum by (phase) (r3mes_phase{@})"},
            stacked=True,
        ),
        Panel(
            "Versions",
            "Replicas of each; a rollout is where they cross.",
            {"{{version}}": "sum by (version) (r3mes_build_info{@})"},
            stacked=True,
        ),
        Panel(
            "What computes",
            "Replicas by path, instructions and the types of weights and of the KV cache.",
            {
                "{{path}} {{instructions}} {{weights}} {{kv}}": (
                    "sum by (path, instructions, weights, kv) (r3mes_compute_info{@})"
                ),
            },
            stacked=True,
        ),
        Panel(
            "New starts",
            "Of a replica in its pod, within an hour.",
            {
                REPLICA: f"sum by ({BY_REPLICA}) (changes(r3mes_start_time_seconds{{@}}[1h]))",
            },
        ),
        Panel(
            "Cold start",
            "Time of each phase, mean of the replicas.",
            {"{{phase}}": "avg by (phase) (r3mes_phase_seconds{@})"},
            "s",
            "bargauge",
        ),
        Panel(
            "Age",
            "Since the replica began.",
            {REPLICA: f"max by ({BY_REPLICA}) (time() - r3mes_start_time_seconds{{@}})"},
            "s",
        ),
        Panel(
            "Lost or unknown",
            "Spans that never reached the collector; request fields that nothing here knows.",
            {
                "spans": rate("r3mes_spans_dropped_total"),
                "fields": rate("r3mes_unknown_fields_total"),
            },
        ),
    ),
}
