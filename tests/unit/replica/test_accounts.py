"""What the end of an exchange tells the supervisor."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from r3mes.engine.messages import Measurement, Measurements
from r3mes.replica.accounts import Accounts
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.exchange import Exchange
from r3mes.settings import TelemetrySettings
from r3mes.telemetry import names
from r3mes.telemetry.report import RequestReport
from r3mes.telemetry.tracing import Tracing
from support.backstage import Backstage, backstage

CHAT = "/v1/chat/completions"
Pair = tuple[EngineClient, Backstage]


class BrokenTracing(Tracing):
    def end(self, report: RequestReport) -> int:
        raise RuntimeError("the spans cannot be made")


def tracing(kind: type[Tracing] = Tracing) -> Tracing:
    return kind(TelemetrySettings(), version="1", replica="r")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="r3mes-") as name:
        async with backstage(Path(name)) as both:
            yield both


async def told(others: Backstage) -> Measurements:
    """The next counts that reach the supervisor; a new state is answered with none."""
    while not (message := await others.next_of(Measurements)).items:
        pass
    assert isinstance(message, Measurements)
    return message


async def ended(pair: Pair, *, status: int, method: str = "POST") -> list[Measurement]:
    client, others = pair
    accounts = Accounts(client, tracing())
    exchange = Exchange("r", method, CHAT, route=CHAT, status=status)
    accounts.begin(exchange, Headers())
    accounts.end(exchange)
    return (await told(others)).items


async def test_a_request_whose_spans_fail_is_not_in_flight_any_more(pair: Pair) -> None:
    client, others = pair
    accounts = Accounts(client, tracing(BrokenTracing))
    exchange = Exchange("r", "POST", CHAT, route=CHAT, status=200)
    accounts.begin(exchange, Headers())
    assert 1 == client.in_flight

    with pytest.raises(RuntimeError):
        accounts.end(exchange)

    message = await told(others)
    assert (0, 0) == (client.in_flight, message.in_flight)
    assert names.REQUESTS.name in {item.name for item in message.items}


@pytest.mark.parametrize(
    ("status", "method", "counted"),
    [(200, "POST", True), (404, "POST", False), (405, "GET", False)],
)
async def test_only_what_could_be_a_chat_is_timed_as_one(
    pair: Pair, status: int, method: str, counted: bool
) -> None:
    items = await ended(pair, status=status, method=method)

    assert counted == (names.DURATION.name in {item.name for item in items})
    assert names.REQUESTS.name in {item.name for item in items}
