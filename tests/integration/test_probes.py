"""What the probes say from the first moment to the last, over HTTP."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from r3mes.protocol.answers import Health
from support.completions import complete
from support.replica import Replica, running_replica, wait_for

Start = Callable[..., Replica]
SLOW_WARM_UP = {"engine.runner": "fake", "engine.fake_step_ms": 300}
LONG_STEPS = {
    "engine.runner": "fake",
    "engine.max_batch": 1,
    "engine.fake_step_ms": 600,
    "probes.ready_heartbeat_s": 0.2,
    "probes.live_heartbeat_s": 0.2,
}
ONE_SEAT = {"engine.runner": "fake", "engine.max_batch": 1, "engine.fake_step_ms": 20}
QUICK_TO_NOTICE = {
    "engine.runner": "fake",
    "engine.fake_step_ms": 20,
    "probes.ready_heartbeat_s": 1,
    "probes.live_heartbeat_s": 3,
}


@pytest.fixture(scope="module")
def watchful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    with running_replica(tmp_path_factory.mktemp("watchful"), QUICK_TO_NOTICE) as replica:
        yield replica.wait_ready()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/health", "/ready"])
def test_every_probe_of_a_warm_replica_is_good(fake_replica: Replica, path: str) -> None:
    answer = fake_replica.probe(path)

    assert 200 == answer.status_code
    assert "ready" == answer.json()["phase"]
    assert 0 < answer.json()["warm_ttft_s"]
    assert 0 < answer.json()["phase_seconds"]["warm"]


def test_a_probe_says_what_the_document_says(fake_replica: Replica) -> None:
    assert list(Health.model_fields) == list(fake_replica.probe("/readyz").json())


def test_a_probe_answers_head_and_refuses_to_be_posted_to(fake_replica: Replica) -> None:
    assert 200 == httpx.head(f"{fake_replica.url}/readyz").status_code
    refused = httpx.post(f"{fake_replica.url}/readyz")
    assert 405 == refused.status_code
    assert "GET, HEAD" == refused.headers["allow"]


def test_until_it_is_warm_a_replica_lives_but_is_neither_started_nor_ready(
    start_replica: Start,
) -> None:
    replica = start_replica(SLOW_WARM_UP)

    seen: list[tuple[str, int, int, int]] = []

    def is_ready() -> bool:
        live, started, ready = (replica.probe(path) for path in ("/livez", "/startupz", "/readyz"))
        phases = {answer.json()["phase"] for answer in (started, ready)}
        if len(phases) == 1:  # else the phase changed between the two
            seen.append((*phases, live.status_code, started.status_code, ready.status_code))
        return (*phases,) == ("ready",)

    wait_for(is_ready, "readiness", within=60)

    assert ("warming", 200, 503, 503) in seen
    assert {200} == {live for _, live, _, _ in seen}
    assert [("ready", 200, 200, 200)] == [each for each in seen if each[0] == "ready"]


def test_an_engine_that_computes_a_long_step_stays_ready(start_replica: Start) -> None:
    replica = start_replica(LONG_STEPS).wait_ready()

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(complete, replica, max_tokens=5)
        seen = set()
        while not answer.done():
            seen |= {replica.probe(path).status_code for path in ("/readyz", "/livez")}
    assert 200 == answer.result().status_code
    assert {200} == seen


def test_a_hung_engine_ends_readiness_then_liveness_and_both_come_back(
    watchful: Replica,
) -> None:
    replica = watchful

    replica.engine.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: replica.probe("/readyz").status_code == 503, "no readiness", within=10)
        assert 200 == replica.probe("/livez").status_code
        wait_for(lambda: replica.probe("/livez").status_code == 503, "no liveness", within=10)
        assert 503 == httpx.post(f"{replica.url}/v1/completions", json={"prompt": "a"}).status_code
    finally:
        replica.engine.send_signal(signal.SIGCONT)

    wait_for(lambda: replica.probe("/readyz").status_code == 200, "readiness again")
    assert 200 == replica.probe("/livez").status_code


def test_a_hung_supervisor_ends_readiness_too(watchful: Replica) -> None:
    replica = watchful

    replica.send(signal.SIGSTOP)
    try:
        wait_for(lambda: replica.probe("/readyz").status_code == 503, "no readiness", within=10)
    finally:
        replica.send(signal.SIGCONT)

    wait_for(lambda: replica.probe("/readyz").status_code == 200, "readiness again")


def test_probes_answer_while_every_slot_is_taken(start_replica: Start) -> None:
    replica = start_replica(ONE_SEAT).wait_ready()

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(complete, replica, max_tokens=150) for _ in range(3)]
        wait_for(lambda: in_line(replica, answers), "a line")

        assert 200 == replica.probe("/readyz").status_code
        assert 200 == replica.probe("/livez").status_code

    assert [200, 200, 200] == [answer.result().status_code for answer in answers]


def in_line(replica: Replica, answers: list[Future[httpx.Response]]) -> bool:
    """Whether two wait; an answer before that ends the test, for then they never will."""
    assert [] == [answer.result().text for answer in answers if answer.done()]
    return replica.metric("r3mes_requests_waiting") == 2
