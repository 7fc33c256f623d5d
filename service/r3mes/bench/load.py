"""Decides when requests start: a fixed number of streams at a time, or random moments of a rate.

Knows nothing of HTTP, statistics or terminals.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from r3mes.bench.caller import Outcome

Ask = Callable[[str], Awaitable[Outcome]]
OnEnd = Callable[[Outcome], None]
PAUSE_AFTER_ERROR_S = 0.05  # a server that refuses at once is not to be flooded


async def keep_busy(
    prompts: Iterator[str], *, ask: Ask, streams: int, seconds: float = math.inf, on_end: OnEnd
) -> list[Outcome]:
    """Hold `streams` requests open until the prompts or the seconds are used up."""
    outcomes: list[Outcome] = []
    last_start = time.perf_counter() + seconds

    async def stream() -> None:
        for prompt in prompts:
            if time.perf_counter() >= last_start:
                return
            outcomes.append(await ask(prompt))
            on_end(outcomes[-1])
            if outcomes[-1].error:
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(stream())
    return outcomes


async def arrive(
    prompts: Iterator[str],
    *,
    ask: Ask,
    rate: float,
    rng: random.Random,
    seconds: float = math.inf,
    on_end: OnEnd,
) -> list[Outcome]:
    """Start requests as a Poisson process of `rate` a second, however many are open."""
    outcomes: list[Outcome] = []

    async def request(prompt: str) -> None:
        outcomes.append(await ask(prompt))
        on_end(outcomes[-1])

    begin = time.perf_counter()
    due = 0.0
    async with asyncio.TaskGroup() as group:
        for prompt in prompts:
            due += rng.expovariate(rate)
            if due > seconds:
                break
            await asyncio.sleep(begin + due - time.perf_counter())
            group.create_task(request(prompt))
    return outcomes
