import asyncio
import random
import time
from itertools import count, islice

from r3mes.bench.caller import Outcome
from r3mes.bench.load import arrive, keep_busy


class Server:
    """Answers after a while and notes how many ask at once."""

    def __init__(self, *, takes_s: float = 0.0, error: str | None = None) -> None:
        self.takes_s = takes_s
        self.error = error
        self.open = 0
        self.most_open = 0
        self.asked: list[str] = []

    async def ask(self, prompt: str) -> Outcome:
        self.asked.append(prompt)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        started = time.perf_counter()
        await asyncio.sleep(self.takes_s)
        self.open -= 1
        return Outcome(started, time.perf_counter(), error=self.error)


def ignore(_: Outcome) -> None:
    pass


def numbered() -> map:  # type: ignore[type-arg]
    return map(str, count())


async def test_as_many_requests_are_open_as_streams_were_wanted() -> None:
    server = Server(takes_s=0.01)

    await keep_busy(islice(numbered(), 12), ask=server.ask, streams=4, on_end=ignore)

    assert 4 == server.most_open


async def test_every_prompt_is_asked_once() -> None:
    server = Server()
    ended: list[Outcome] = []

    outcomes = await keep_busy(
        islice(numbered(), 10), ask=server.ask, streams=3, on_end=ended.append
    )

    assert [str(number) for number in range(10)] == server.asked
    assert outcomes == ended


async def test_no_request_starts_after_the_seconds_are_over_and_open_ones_end() -> None:
    server = Server(takes_s=0.05)

    outcomes = await keep_busy(numbered(), ask=server.ask, streams=2, seconds=0.12, on_end=ignore)

    begin = outcomes[0].started
    assert all(outcome.started - begin < 0.5 for outcome in outcomes)
    assert len(server.asked) == len(outcomes)


async def test_a_server_that_refuses_at_once_is_not_flooded() -> None:
    server = Server(error="503")

    await keep_busy(numbered(), ask=server.ask, streams=1, seconds=0.3, on_end=ignore)

    assert len(server.asked) <= 7


async def test_arrivals_do_not_wait_for_answers() -> None:
    server = Server(takes_s=0.3)

    await arrive(
        islice(numbered(), 8), ask=server.ask, rate=400, rng=random.Random(1), on_end=ignore
    )

    assert server.most_open > 4


async def test_the_same_seed_gives_the_same_number_of_arrivals_near_the_rate() -> None:
    def arrivals(seed: int) -> int:
        rng, due, number = random.Random(seed), 0.0, 0
        while (due := due + rng.expovariate(200)) <= 0.5:
            number += 1
        return number

    server = Server()
    await arrive(
        numbered(), ask=server.ask, rate=200, rng=random.Random(3), seconds=0.5, on_end=ignore
    )

    assert arrivals(3) == len(server.asked)
    assert 60 < len(server.asked) < 150
