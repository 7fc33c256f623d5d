"""Spans arrive at a collector, whole and without a word of what was said; it may be dead."""

import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.collector import Collector, attributes, collector
from support.completions import PATH, body, complete, stream
from support.replica import Replica, running_replica, wait_for

Start = Callable[..., Replica]
Tree = dict[str, Span]
CANARY = "a prompt that nobody may see"
CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, CHAT = f"POST {PATH}", "text_completion fake"
STAGES = ("queue", "prefill", "decode")


@dataclass
class Traced:
    """What a replica that traces everything left behind: answers, log, spans."""

    answer: httpx.Response
    last_answer: httpx.Response
    log: str
    collector: Collector

    def tree(self, answer: httpx.Response) -> Tree:
        _, trace_id, _, _ = answer.headers["traceresponse"].split("-")
        return {span.name: span for span in self.collector.spans if span.trace_id.hex() == trace_id}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    with collector() as spans, running_replica(folder, tracing(spans.endpoint)) as replica:
        answer = httpx.post(
            f"{replica.wait_ready().url}{PATH}",
            json=body(max_tokens=3, prompt=CANARY),
            headers={"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"},
        )
        last_answer = complete(replica)
        assert 0 == replica.stop()
        yield Traced(answer, last_answer, replica.log, spans)


def tracing(endpoint: str) -> dict[str, object]:
    return {
        "engine.runner": "fake",
        "telemetry.otlp_endpoint": endpoint,
        "telemetry.sample_ratio": 1,
    }


def test_one_request_is_one_tree_of_five_spans_below_the_callers(traced: Traced) -> None:
    tree = traced.tree(traced.answer)

    assert {SERVER, CHAT, *STAGES} == set(tree)
    assert CALLER_SPAN == tree[SERVER].parent_span_id.hex()
    assert tree[SERVER].span_id == tree[CHAT].parent_span_id
    assert {tree[CHAT].span_id} == {tree[name].parent_span_id for name in STAGES}
    assert Span.SPAN_KIND_SERVER == tree[SERVER].kind


def test_the_answer_and_the_log_name_the_span(traced: Traced) -> None:
    span_id = traced.tree(traced.answer)[SERVER].span_id.hex()

    assert f"00-{CALLER_TRACE}-{span_id}-01" == traced.answer.headers["traceresponse"]
    assert f'"trace_id": "{CALLER_TRACE}", "span_id": "{span_id}"' in traced.log


def test_the_stages_of_the_engine_follow_each_other_within_the_request(traced: Traced) -> None:
    tree = traced.tree(traced.answer)
    stages = [tree[name] for name in STAGES]

    for earlier, later in itertools.pairwise(stages):
        assert earlier.end_time_unix_nano == later.start_time_unix_nano
    assert tree[SERVER].start_time_unix_nano <= stages[0].start_time_unix_nano
    assert stages[-1].end_time_unix_nano <= tree[SERVER].end_time_unix_nano


def test_attributes_tell_what_was_asked_and_what_it_cost(traced: Traced) -> None:
    tree = traced.tree(traced.answer)
    told, usage = attributes(tree[CHAT]), traced.answer.json()["usage"]

    assert 200 == attributes(tree[SERVER])["http.response.status_code"]
    assert "r3mes" == told["gen_ai.provider.name"]
    assert 3 == told["gen_ai.request.max_tokens"]
    assert usage["prompt_tokens"] == told["gen_ai.usage.input_tokens"]
    assert usage["completion_tokens"] == told["gen_ai.usage.output_tokens"]
    assert ["length"] == told["gen_ai.response.finish_reasons"]


def test_no_prompt_is_in_a_span_or_in_the_log(traced: Traced) -> None:
    assert CANARY not in str(traced.collector.spans)
    assert CANARY not in traced.log


def test_what_still_waits_is_sent_before_the_end(traced: Traced) -> None:
    assert {SERVER, CHAT, *STAGES} == set(traced.tree(traced.last_answer))


def test_a_dead_collector_has_no_effect_but_a_count(start_replica: Start) -> None:
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        replica = start_replica(tracing(endpoint)).wait_ready()

        assert 200 == complete(replica).status_code
        with stream(replica, max_tokens=3) as events:
            assert "[DONE]" == events.rest()[-1]
        wait_for(lambda: replica.logged("the collector is lost"), "a word about it")
        assert 200 == complete(replica).status_code
        assert 10 == replica.metric("r3mes_spans_dropped_total")
        assert 0 == replica.stop()
