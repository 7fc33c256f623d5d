"""The counters of a replica equal the ledger of its clients, whichever worker answered."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.completions import DONE, PATH, body, stream
from support.replica import PLAIN, Replica, running_replica, wait_for

TWO_WORKERS = {"engine.runner": "fake", "server.workers": 2, "engine.fake_step_ms": 2}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica with two workers."""
    with running_replica(tmp_path_factory.mktemp("pair"), TWO_WORKERS) as replica:
        yield replica.wait_ready()


Amounts = dict[str, float]


def amounts(replica: Replica) -> Amounts:
    page = replica.metrics()
    return {
        **{kind: page["r3mes_tokens_total", "kind", kind] for kind in ("prompt", "generated")},
        **{
            status: sum(
                value
                for key, value in page.items()
                if key[0] == "r3mes_requests_total" and status in key and PATH in key
            )
            for status in ("200", "400", "499")
        },
    }


def gained(before: Amounts, after: Amounts) -> Amounts:
    return {name: after[name] - before[name] for name in after}


def test_counters_equal_the_clients_ledger_with_two_workers(pair: Replica) -> None:
    before = amounts(pair)
    ledger: Counter[str] = Counter({"499": 0})

    def plain(number: int) -> None:
        answer = httpx.post(
            f"{pair.url}{PATH}", json=body(max_tokens=number % 7 + 1), timeout=30, verify=PLAIN
        )
        ledger.update({str(answer.status_code): 1, **spent(answer.json()["usage"])})

    def streamed(number: int) -> None:
        asked = {"n": number % 2 + 1, "stream_options": {"include_usage": True}}
        with stream(pair, max_tokens=number % 5 + 1, **asked) as events:
            *_, last, done = events
        assert DONE == done
        ledger.update({"200": 1, **spent(json.loads(last)["usage"])})

    def wrong(number: int) -> None:
        answer = httpx.post(
            f"{pair.url}{PATH}", json={"prompt": "", "max_tokens": number}, verify=PLAIN
        )
        ledger[str(answer.status_code)] += 1

    with ThreadPoolExecutor(8) as pool:
        for ask in (plain, streamed, wrong):
            list(pool.map(ask, range(20)))

    assert {"200": 40, "400": 20, "499": 0} == {
        name: ledger[name] for name in ("200", "400", "499")
    }
    assert dict(ledger) == gained(before, amounts(pair))


def spent(usage: dict[str, int]) -> dict[str, int]:
    return {"prompt": usage["prompt_tokens"], "generated": usage["completion_tokens"]}


def test_the_pages_of_the_document_are_counted_by_their_path(pair: Replica) -> None:
    for path in ("/docs", "/openapi.json"):
        assert 200 == httpx.get(f"{pair.url}{path}", verify=PLAIN).status_code

    routes = {key[key.index("route") + 1] for key in pair.metrics() if "route" in key}
    assert {"/docs", "/openapi.json"} <= routes


def test_a_client_that_leaves_is_counted_as_499_and_frees_its_slot(pair: Replica) -> None:
    before, aborts = amounts(pair), pair.metric("r3mes_aborts_total")

    with stream(pair, max_tokens=5000) as events:
        events.first()

    wait_for(lambda: amounts(pair)["499"] == before["499"] + 1, "a count of it")
    wait_for(lambda: pair.metric("r3mes_requests_running") == 0, "a free slot")
    assert 1 <= gained(before, amounts(pair))["generated"] < 5000
    assert aborts + 1 == pair.metric("r3mes_aborts_total")


def test_views_under_others_names_show_the_same_numbers(fake_replica: Replica) -> None:
    assert 200 == httpx.post(f"{fake_replica.url}{PATH}", json=body(max_tokens=3)).status_code

    page = fake_replica.metrics()

    def of(name: str) -> float:
        return sum(value for key, value in page.items() if key[0] == name)

    ours = sum(
        value
        for key, value in page.items()
        if key[0] == "r3mes_tokens_total" and "generated" in key
    )
    assert ours == of("vllm:generation_tokens_total")
    assert of("gen_ai_server_time_to_first_token_seconds_count") == of(
        "vllm:time_to_first_token_seconds_count"
    )
    assert of("r3mes_step_tokens_sum") == of("vllm:iteration_tokens_total_sum")
    assert 1 == page["r3mes_phase", "phase", "ready"]


def test_openmetrics_is_given_to_whoever_asks_for_it(fake_replica: Replica) -> None:
    page = httpx.get(
        f"{fake_replica.url}/metrics", headers={"accept": "application/openmetrics-text"}
    )

    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert page.text.endswith("# EOF\n")
    assert "vllm:num_requests_running" in page.text


def test_probes_and_scrapes_are_not_requests(pair: Replica) -> None:
    before = pair.metric("r3mes_requests_total")
    pair.probe("/livez")

    assert before == pair.metric("r3mes_requests_total")
