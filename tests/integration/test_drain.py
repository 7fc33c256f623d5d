"""What clients see while a replica shuts down in order."""

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx

from support.completions import DONE, body, complete, error_code, stream
from support.raw_http import Connection
from support.replica import PLAIN, Replica, wait_for

Start = Callable[..., Replica]
SLOW = {"engine.runner": "fake", "engine.fake_step_ms": 20, "drain.linger_s": 1}
PATH = "/v1/completions"


def test_a_drain_serves_while_it_lingers_then_refuses_and_lets_streams_finish(
    start_replica: Start,
) -> None:
    replica = start_replica(SLOW).wait_ready()

    with (
        httpx.Client(base_url=replica.url, timeout=30, verify=PLAIN) as client,
        stream(replica, max_tokens=300) as events,
    ):
        events.first()
        before = client.post(PATH, json=body(max_tokens=2))
        replica.send(signal.SIGTERM)
        wait_for(lambda: replica.probe("/readyz").status_code == 503, "no readiness")
        lingering = client.post(PATH, json=body(max_tokens=2))
        refused = wait_for(lambda: refusal(replica), "a refusal")
        live, started = replica.probe("/livez"), replica.probe("/startupz")
        *_, last, done = events.rest()

    assert (200, None) == (before.status_code, before.headers.get("connection"))
    assert (200, "close") == (lingering.status_code, lingering.headers["connection"])
    assert "shutting_down" == refused.json()["error"]["code"]
    assert "close" == refused.headers["connection"]
    assert 1 <= int(refused.headers["retry-after"])
    assert (200, 200) == (live.status_code, started.status_code)
    assert "draining" == live.json()["phase"]
    assert '"finish_reason":"length"' in last.replace(" ", "")
    assert DONE == done
    assert 0 == replica.wait_end()
    replica.assert_no_process_left()


def test_a_kept_connection_is_served_once_more_after_the_linger(start_replica: Start) -> None:
    """The stream on it began before the drain, so its head said nothing of an end."""
    replica = start_replica({**SLOW, "drain.linger_s": 0.1}).wait_ready()
    with Connection(int(replica.url.rpartition(":")[2])) as connection:
        connection.send(request(max_tokens=100, stream=True)).more()
        replica.send(signal.SIGTERM)
        wait_for(lambda: refusal(replica), "a refusal")
        while not connection.received.endswith(b"\r\n0\r\n\r\n"):
            assert connection.more()
        connection.received = b""
        answer = connection.send(request(max_tokens=2)).response()

        assert (200, "close") == (answer.status, answer.headers["connection"])
        assert connection.at_end()
    assert 0 == replica.wait_end()


def request(**asked: Any) -> bytes:
    text = json.dumps(body(**asked))
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()


def refusal(replica: Replica) -> httpx.Response | None:
    answer = complete(replica, max_tokens=1)
    return answer if answer.status_code == 503 else None


def test_what_is_unfinished_when_the_time_is_over_ends_with_shutting_down(
    start_replica: Start,
) -> None:
    replica = start_replica({**SLOW, "drain.linger_s": 0, "drain.timeout_s": 1}).wait_ready()

    with stream(replica, max_tokens=50_000) as events:
        events.first()
        replica.send(signal.SIGTERM)
        *_, last, done = events.rest()

    assert "shutting_down" == error_code(last)
    assert DONE == done
    assert 0 == replica.wait_end()


def test_a_second_signal_stops_at_once(start_replica: Start) -> None:
    replica = start_replica(SLOW).wait_ready()

    with stream(replica, max_tokens=50_000) as events:
        events.first()
        replica.send(signal.SIGTERM)
        wait_for(lambda: replica.probe("/readyz").status_code == 503, "the drain")
        replica.send(signal.SIGTERM)
        assert 128 + signal.SIGTERM == replica.wait_end()

    replica.assert_no_process_left()


def test_ctrl_c_ends_an_idle_replica_without_lingering(start_replica: Start) -> None:
    replica = start_replica({**SLOW, "drain.linger_s": 60}).wait_ready()

    began = time.monotonic()
    assert 0 == replica.stop(signal.SIGINT)

    assert 30 > time.monotonic() - began


def test_a_replica_that_is_not_warm_yet_ends_at_once_on_sigterm(start_replica: Start) -> None:
    replica = start_replica({**SLOW, "engine.fake_step_ms": 500, "drain.linger_s": 60})
    wait_for(lambda: replica.probe("/livez").status_code == 200, "a worker")
    assert not replica.is_ready()

    assert 0 == replica.stop(signal.SIGTERM)
