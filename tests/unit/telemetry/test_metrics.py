"""The registry is exact, and its page can be read under every name."""

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from prometheus_client.samples import Sample

from r3mes import __version__
from r3mes.telemetry import names
from r3mes.telemetry.metrics import ReplicaMetrics, Snapshot
from r3mes.telemetry.names import INSTRUMENTS
from r3mes.telemetry.views import VIEWS, render

IDLE = Snapshot(
    model="m",
    compute={"path": "step", "instructions": "avx2", "weights": "int8", "kv": "float32"},
    started_at=1_700_000_000,
    phase="ready",
    phase_seconds={"load": 1.5},
    heartbeat_age=0.1,
    waiting=3,
    running=2,
    capacity=8,
    blocks_free=5,
    blocks_used=3,
    blocks_cached=2,
    block_size=16,
    prefix_hits=4,
    prefix_misses=6,
    chunks=1,
    preemptions=7,
    drafts={"accepted": 3, "rejected": 1},
    aborts={"client": 2},
)


def samples(metrics: ReplicaMetrics, *, open_format: bool = False) -> list[Sample]:
    text = render(metrics, IDLE, open_format=open_format)[0].decode()
    families = parse_open(text) if open_format else parse_plain(text)
    return [sample for family in families for sample in family.samples]


def value(page: list[Sample], name: str, **labels: str) -> float:
    wanted = labels.items()
    (found,) = [each for each in page if each.name == name and wanted <= each.labels.items()]
    return found.value


def test_a_weighted_observation_counts_as_many_times() -> None:
    metrics = ReplicaMetrics()
    metrics.apply(names.INTER_TOKEN.name, (), 0.02, weight=5)

    page = samples(metrics)

    assert 5 == value(page, "vllm:inter_token_latency_seconds_count")
    assert 0.1 == value(page, "vllm:inter_token_latency_seconds_sum")
    assert 0 == value(page, "vllm:inter_token_latency_seconds_bucket", le="0.01")
    assert 5 == value(page, "vllm:inter_token_latency_seconds_bucket", le="0.025")


def test_a_view_adds_up_the_series_that_it_does_not_tell_apart() -> None:
    metrics = ReplicaMetrics()
    metrics.record_step("prefill", 0.1, 30)
    metrics.record_step("decode", 0.1, 4)
    metrics.apply(names.DURATION.name, ("chat", ""), 1.0)
    metrics.apply(names.DURATION.name, ("chat", "internal_error"), 1.0)

    page = samples(metrics)

    assert 34 == value(page, "vllm:iteration_tokens_total_sum")
    assert 1 == value(page, "vllm:e2e_request_latency_seconds_count", model_name="m")


def test_the_state_of_the_engine_is_on_the_page() -> None:
    page = samples(ReplicaMetrics())

    assert 1 == value(page, "r3mes_phase", phase="ready")
    assert 0 == value(page, "r3mes_phase", phase="loading")
    assert 0.3 == value(page, "vllm:kv_cache_usage_perc", model_name="m")
    assert 10 == value(page, "vllm:prefix_cache_queries_total")
    assert 2 == value(page, "r3mes_aborts_total", reason="client")


def test_the_page_tells_which_version_runs_since_when() -> None:
    page = samples(ReplicaMetrics())

    assert 1 == value(page, "r3mes_build_info", version=__version__)
    assert 1 == value(page, "r3mes_compute_info", path="step", weights="int8")
    assert 1_700_000_000 == value(page, "r3mes_start_time_seconds")


def test_an_exemplar_is_shown_in_the_open_format_alone() -> None:
    metrics = ReplicaMetrics()
    metrics.apply(names.TTFT.name, ("chat",), 0.03, trace_id="ab" * 16)

    explained = [each.exemplar for each in samples(metrics, open_format=True) if each.exemplar]
    assert {"ab" * 16} == {exemplar.labels["trace_id"] for exemplar in explained}
    assert b"ab" * 16 not in render(metrics, IDLE, open_format=False)[0]


def test_every_name_is_defined_once_and_both_formats_show_the_same_names() -> None:
    shown = [*INSTRUMENTS, *(view.name for view in VIEWS)]
    metrics = ReplicaMetrics()

    assert len(shown) == len(set(shown))
    assert {each.name for each in samples(metrics)} == {
        each.name for each in samples(metrics, open_format=True)
    }


def test_the_help_of_a_view_says_what_it_is_and_whose_numbers_it_shows() -> None:
    text = render(ReplicaMetrics(), IDLE, open_format=False)[0].decode()
    told = {family.name: family.documentation for family in parse_plain(text)}

    assert [] == [name for name, said in told.items() if " " not in said]
    assert told["vllm:prompt_tokens"] == (
        "Prompt tokens of the usage that clients were told. A view of r3mes_tokens_total."
    )
    assert told["vllm:num_requests_waiting"] == told["r3mes_requests_waiting"]
