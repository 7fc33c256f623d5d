"""What a worker asks of itself before its first client."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from r3mes.engine.messages import Stamps, Update
from r3mes.replica import rehearsal
from r3mes.replica.app import build_app
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.rehearsal import TIMES, rehearse
from r3mes.settings import Settings
from support.backstage import Backstage, backstage
from support.model_info import byte_model

KEPT_BY_KEYS = Settings.model_validate({"api_keys": "sk-" + "x" * 32})


@asynccontextmanager
async def warming(folder: Path, **changes: Any) -> AsyncIterator[tuple[EngineClient, Backstage]]:
    """A worker's client while nobody else is admitted yet."""
    async with backstage(folder) as (client, others):
        known = asyncio.Event()
        client.on_state = lambda _: known.set()
        others.publish(phase="warming", **changes)
        await known.wait()
        yield client, others


async def answer(others: Backstage, *, times: int = TIMES) -> None:
    for _ in range(times):
        (choice,) = await others.choices()
        stamps = Stamps(queued=1.0, first_token=2.0, finished=3.0)
        others.deliver(Update(choice.stream, [104, 105], finish="length", stamps=stamps))


@pytest.mark.parametrize("settings", [Settings(), KEPT_BY_KEYS], ids=["open", "with keys"])
async def test_it_is_a_whole_answer_while_clients_are_refused(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with warming(tmp_path) as (client, others):
        app = build_app(settings, client)
        app.state.text = byte_model()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(answer(others))
            group.create_task(rehearse(app))

    assert [] == [record.message for record in caplog.records if record.name.startswith("r3mes")]


async def test_a_slow_model_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "ENOUGH_S", 0.0)
    async with warming(tmp_path) as (client, others):
        app = build_app(Settings(), client)
        app.state.text = byte_model()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(answer(others, times=1))
            group.create_task(rehearse(app))


async def test_a_worker_whose_rehearsal_fails_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with warming(tmp_path, cut=True) as (client, _):
        app = build_app(Settings(), client)
        app.state.text = byte_model()
        with caplog.at_level(logging.WARNING):
            await rehearse(app)

    assert "the first answer of this worker may be slow" in caplog.text


async def test_a_worker_lives_on_whatever_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with warming(tmp_path) as (client, _):
        app = build_app(Settings(), client)
        app.state.text = "no model"

        await rehearse(app)

    assert "the first answer of this worker failed" in caplog.text
