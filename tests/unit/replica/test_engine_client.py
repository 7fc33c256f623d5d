"""A worker's way to the engine, against sockets that say what each test wants."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from r3mes.engine.messages import (
    Abort,
    Flush,
    Flushed,
    Measurements,
    SamplingParams,
    Scrape,
    Scraped,
    Update,
    WorkerHello,
)
from r3mes.errors import (
    DeadlineExceeded,
    EngineCrash,
    InternalError,
    ModelLoading,
    Overloaded,
    ShuttingDown,
)
from r3mes.replica import engine_client
from r3mes.replica.engine_client import EngineClient, Job
from support.backstage import Backstage, backstage

JOB = Job([1, 2], SamplingParams(max_tokens=4))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for a socket's path is bounded."""
    with tempfile.TemporaryDirectory(prefix="r3mes-") as name:
        yield Path(name)


@pytest.fixture
async def pair(folder: Path) -> AsyncIterator[tuple[EngineClient, Backstage]]:
    async with backstage(folder) as both:
        yield both


Pair = tuple[EngineClient, Backstage]


async def arrived(client: EngineClient, others: Backstage, **changes: object) -> None:
    """Publish a state and wait until the client has it."""
    seen = asyncio.Event()
    client.on_state = lambda state: seen.set() if state == others.state else None
    others.publish(**changes)
    await seen.wait()


async def test_a_worker_introduces_itself_and_knows_the_state(pair: Pair) -> None:
    client, others = pair

    assert WorkerHello("w1", 1, ready=False) == await others.next_of(WorkerHello)
    assert others.state == client.state


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"phase": "loading"}, ModelLoading),
        ({"phase": "warming"}, ModelLoading),
        ({"phase": "failed"}, ShuttingDown),  # no engine has ended at work on it
        ({"phase": "draining"}, ShuttingDown),
        ({"heartbeat": 0.0}, Overloaded),
    ],
)
async def test_no_request_is_admitted(
    pair: Pair, changes: dict[str, object], error: type[Exception]
) -> None:
    client, others = pair
    await arrived(client, others, **changes)

    with pytest.raises(error):
        client.admit()


async def test_an_engine_is_not_silent_as_long_as_it_may_be_computing_one_step(pair: Pair) -> None:
    client, others = pair
    now = time.monotonic()

    await arrived(client, others, heartbeat=now - 20, slowest_step=8.0)
    client.admit()
    await arrived(client, others, heartbeat=now - 25, slowest_step=8.0)
    with pytest.raises(Overloaded):
        client.admit()


@pytest.mark.parametrize("changes", [{}, {"phase": "draining", "lingering": True}])
async def test_a_request_is_admitted_when_ready_and_while_a_drain_lingers(
    pair: Pair, changes: dict[str, object]
) -> None:
    client, others = pair
    await arrived(client, others, **changes)

    client.admit()


@pytest.mark.parametrize(
    ("changes", "is_served"),
    [
        ({"phase": "draining"}, True),
        ({"phase": "draining", "cut": True}, False),
        ({"phase": "failed"}, False),
    ],
)
async def test_a_kept_connection_is_served_until_the_drain_cuts(
    pair: Pair, changes: dict[str, object], is_served: bool
) -> None:
    client, others = pair
    await arrived(client, others, **changes)

    with nullcontext() if is_served else pytest.raises(ShuttingDown):
        client.admit(kept=True)


async def test_news_of_all_jobs_come_with_their_index_until_all_are_finished(pair: Pair) -> None:
    client, others = pair

    async with client.generate([JOB, JOB], request_id="r", deadline=None) as news:
        first, second = await others.choices()
        others.deliver(Update(first.stream, [7]), Update(second.stream, [8], finish="stop"))
        others.deliver(Update(first.stream, [9], finish="length"))
        seen = [(index, update.ids) for batch in [b async for b in news] for index, update in batch]

    assert [(0, [7]), (1, [8]), (0, [9])] == seen
    assert ([1, 2], "r") == (first.prompt, first.request_id)


async def test_leaving_early_aborts_only_what_is_unfinished(pair: Pair) -> None:
    client, others = pair

    async with client.generate([JOB, JOB], request_id="r", deadline=None) as news:
        first, second = await others.choices()
        others.deliver(Update(first.stream, [7], finish="stop"))
        await anext(news)

    assert Abort([second.stream], "client") == await others.next_of(Abort, others.asked)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"phase": "failed"}, EngineCrash),
        ({"phase": "draining", "cut": True}, ShuttingDown),
    ],
)
async def test_a_stream_that_is_over_first_gives_what_had_arrived(
    pair: Pair, changes: dict[str, object], error: type[Exception]
) -> None:
    client, others = pair

    async with client.generate([JOB], request_id="r", deadline=None) as news:
        (submit,) = await others.choices()
        others.deliver(Update(submit.stream, [7]))
        assert [(0, Update(submit.stream, [7]))] == await anext(news)
        others.publish(**changes)
        with pytest.raises(error):
            await anext(news)

    with pytest.raises(error):
        async with client.generate([JOB], request_id="r", deadline=None):
            pass


async def test_an_engine_that_is_silent_past_the_deadline_is_not_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = pair
    monkeypatch.setattr(engine_client, "OVERDUE_S", 0.0)

    async with client.generate([JOB], request_id="r", deadline=time.monotonic()) as news:
        with pytest.raises(DeadlineExceeded):
            await anext(news)


async def test_a_scrape_is_answered_by_the_supervisor(pair: Pair) -> None:
    client, others = pair
    scrape = asyncio.create_task(client.scrape(openmetrics=True))
    question = await others.next_of(Scrape)

    others.say(Scraped(question.ticket, b"page", "text/plain"))

    assert b"page" == (await scrape).text
    assert question.openmetrics


async def test_a_scrape_does_not_wait_for_a_supervisor_that_hangs(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = pair
    monkeypatch.setattr(engine_client, "SCRAPE_S", 0.01)

    with pytest.raises(InternalError):
        await client.scrape(openmetrics=False)


async def test_each_stage_of_a_drain_is_answered_with_what_is_in_flight(pair: Pair) -> None:
    client, others = pair
    assert 0 == (await others.next_of(Measurements)).in_flight
    client.in_flight = 3

    others.publish(phase="draining", lingering=True)
    assert 3 == (await others.next_of(Measurements)).in_flight
    client.in_flight = 2
    others.publish(phase="draining")

    assert 2 == (await others.next_of(Measurements)).in_flight


async def test_a_flush_is_answered_after_what_was_measured_before(pair: Pair) -> None:
    client, others = pair
    client.in_flight = 9
    client.measured([])

    others.say(Flush(5))

    assert Flushed(5) == await others.next_of(Flushed)
    assert others.told.empty()
