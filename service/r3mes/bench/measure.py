"""The course of one benchmark: learn how long a word is, then drive the server level by level.

Owns the plan. Knows nothing of terminals; what happens is told to `on_end` and `on_level`.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from r3mes.bench.caller import Caller, Outcome
from r3mes.bench.figures import Figures, summarize
from r3mes.bench.load import arrive, keep_busy
from r3mes.bench.prompts import Length, fit, prompt
from r3mes.errors import CallFailed

PROBE_WORDS = (16, 64)


@dataclass(frozen=True)
class Plan:
    levels: tuple[int, ...]  # streams at a time; without any, requests come at `rate`
    rate: float | None
    requests: int | None  # of each level
    seconds: float | None  # in which requests of a level may start
    prompt_tokens: int
    output_tokens: int
    seed: int

    def requests_of(self, streams: int) -> int | None:
        """Without any bound given: four rounds of the level, sixteen requests at least."""
        if self.requests is None and self.seconds is None:
            return max(16, 4 * streams)
        return self.requests


async def measure(
    plan: Plan,
    caller: Caller,
    *,
    on_level: Callable[[str, int | None], None],
    on_end: Callable[[Outcome], None],
) -> list[Figures]:
    """Raises CallFailed when not even the first request succeeds."""
    length = await learn_length(caller)
    words = length.words_for(plan.prompt_tokens)
    rng = random.Random(plan.seed)
    ask = partial(caller.ask, max_tokens=plan.output_tokens)
    seconds = plan.seconds or math.inf
    figures = []
    for streams in plan.levels:
        name, count = f"{streams} at a time", plan.requests_of(streams)
        on_level(name, count)
        prompts = islice(endless(words, rng), count)
        outcomes = await keep_busy(
            prompts, ask=ask, streams=streams, seconds=seconds, on_end=on_end
        )
        figures.append(summarize(name, outcomes))
    if plan.rate:
        name, count = f"{plan.rate:g} requests/s", plan.requests_of(0)
        on_level(name, count)
        prompts = islice(endless(words, rng), count)
        outcomes = await arrive(
            prompts, ask=ask, rate=plan.rate, rng=rng, seconds=seconds, on_end=on_end
        )
        figures.append(summarize(name, outcomes))
    return figures


def endless(words: int, rng: random.Random) -> Iterator[str]:
    while True:
        yield prompt(words, rng=rng)


async def learn_length(caller: Caller) -> Length:
    """Two short requests tell how many tokens a word and the chat template take; they warm too."""
    rng = random.Random(0)
    seen = []
    for words in PROBE_WORDS:
        outcome = await caller.ask(prompt(words, rng=rng), max_tokens=1)
        if outcome.error:
            reason = outcome.sentence or f"{outcome.error}."
            raise CallFailed(f"The first request failed: {reason}", code=outcome.error)
        seen.append((words, outcome.prompt_tokens))
    return fit(*seen)
