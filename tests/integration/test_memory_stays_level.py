"""Prompts of ever new lengths leave nothing behind in the engine."""

import random
from collections.abc import Callable

import httpx

from support.replica import PLAIN, Replica

FEW_BLOCKS = {"engine.kv_blocks": 64}  # all of them are soon used once, and grow no more
GROWTH = 96 << 20  # bytes; without a bound on compiled shapes it is several times that


def test_ever_new_lengths_of_prompts_do_not_fill_the_memory(
    start_replica: Callable[..., Replica],
) -> None:
    replica = start_replica(FEW_BLOCKS).wait_ready()
    rng = random.Random(0)
    lengths = rng.sample(range(20, 500), 170)

    def ask(wanted: list[int]) -> None:
        with httpx.Client(base_url=replica.url, verify=PLAIN, timeout=60) as http:
            for length in wanted:
                prompt = [rng.randrange(10, 3000) for _ in range(length)]
                answer = http.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1})
                assert 200 == answer.status_code

    ask(lengths[:30])
    before = replica.engine.memory_info().rss
    ask(lengths[30:])

    assert GROWTH > replica.engine.memory_info().rss - before
