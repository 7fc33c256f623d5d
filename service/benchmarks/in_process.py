"""The engine without HTTP: the same requests that servers get, at as many streams."""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.apart import apart
from r3mes.bench.caller import Outcome

LOAD_S = 10  # about what it takes until the engine is warm
Wanted = tuple[list[int], int]  # ids of the prompt, and tokens of the answer


def answer(model: Path, requests: Sequence[Wanted], *, streams: int) -> list[Outcome]:
    with apart() as pool:
        return pool.submit(run, model, list(requests), streams).result()


def run(model: Path, requests: list[Wanted], streams: int) -> list[Outcome]:
    from benchmarks.subject import load

    it = load(model, weights="float32")
    waiting, running = list(range(len(requests))), set[int]()
    started: dict[int, float] = {}
    while waiting or running:
        while waiting and len(running) < streams:
            number = waiting.pop(0)
            ids, tokens = requests[number]
            started[number] = time.perf_counter()
            it.submit(number, ids, tokens=tokens)
            running.add(number)
        it.engine.step()
        running = {number for number in running if len(it.arrivals[number]) < requests[number][1]}
    return [
        Outcome(
            started=started[number],
            ended=it.arrivals[number][-1],
            arrivals=tuple(it.arrivals[number]),
            prompt_tokens=len(ids),
            output_tokens=tokens,
        )
        for number, (ids, tokens) in enumerate(requests)
    ]
