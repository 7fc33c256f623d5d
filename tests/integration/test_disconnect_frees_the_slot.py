"""Nobody waits, nobody works: a client that leaves gives its place in the batch back."""

from collections.abc import Callable

import httpx
import pytest

from support.replica import Replica, wait_for

ENDLESS = {
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4000,
    "ignore_eos": True,
}
SLOW = {"engine.runner": "fake", "engine.fake_step_ms": 20, "engine.max_batch": 2}


def load(replica: Replica) -> dict[str, int]:
    return replica.probe("/load").json()


def idle(replica: Replica) -> bool:
    found = load(replica)
    return found["server_load"] == 0 and found["blocks_used"] == 0


def test_whoever_leaves_frees_the_slot(start_replica: Callable[..., Replica]) -> None:
    replica = start_replica(SLOW).wait_ready()
    url = f"{replica.url}/v1/chat/completions"

    with httpx.stream("POST", url, json={**ENDLESS, "stream": True, "n": 2}) as stream:
        lines = stream.iter_lines()
        next(lines)
        wait_for(lambda: load(replica)["running"] == 2, "two choices to run")
    wait_for(lambda: idle(replica), "the slots of the stream to be free")

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=ENDLESS, timeout=httpx.Timeout(5, read=0.5))
    wait_for(lambda: idle(replica), "the slot of the other to be free")

    gone = {"status": "499"}
    wait_for(lambda: replica.metric("r3mes_requests_total", **gone) == 2, "both to be counted")
    assert 0 < replica.metric("r3mes_tokens_total", kind="generated")


def test_a_choice_that_met_its_stop_string_frees_its_slot_while_others_go_on(
    start_replica: Callable[..., Replica],
) -> None:
    replica = start_replica(SLOW).wait_ready()
    url = f"{replica.url}/v1/chat/completions"
    wishes = {**ENDLESS, "n": 2, "seed": 1, "max_tokens": 9}
    text = httpx.post(url, json=wishes).json()["choices"][0]["message"]["content"]
    wishes.update(max_tokens=4000, stop=text[3:8], stream=True)

    with httpx.stream("POST", url, json=wishes) as stream:
        lines = stream.iter_lines()  # held, for its end would close the connection
        while '"finish_reason":"stop"' not in next(lines):
            pass
        wait_for(lambda: load(replica)["running"] == 1, "one choice to be left")
