"""Children are told, asked to end, made to end, and reaped."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from r3mes.replica.processes import Children, describe_exit, environment
from support.replica import wait_for

ECHO = "import os, sys; sys.stdout.close(); os._exit(len(os.read(0, 100)))"
OBEDIENT = "import os; os.write(1, b'up'); os.read(0, 100); os.read(0, 100)"
STUBBORN = """
import json, os, pathlib, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(json.loads(os.read(0, 1000))["ready"]).touch()
os.read(0, 1)
"""
TRUSTING = "import os, json, zmq; os.read(0, 100); os._exit(7)"
CURIOUS = "import os; os.read(0, 100); os._exit(len(os.listdir('/dev/fd')))"


@pytest.fixture
async def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Children]:
    """Their modules stand in the test's folder."""
    for name, text in (("echo", ECHO), ("obedient", OBEDIENT), ("stubborn", STUBBORN)):
        (tmp_path / f"{name}_child.py").write_text(text)
    (tmp_path / "curious_child.py").write_text(CURIOUS)
    (tmp_path / "trusting_child.py").write_text(TRUSTING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ours = Children()
    ours.open()
    yield ours
    ours.close()


async def test_a_child_gets_its_payload_as_one_line_of_json(children: Children) -> None:
    child = children.start("echo", "echo_child", {"a": 1})

    assert len(b'{"a": 1}\n') == await child.exited


async def test_an_obedient_child_ends_on_sigterm(children: Children) -> None:
    child = children.start("obedient", "obedient_child", {})

    await child.stop(grace=30)

    assert -signal.SIGTERM == await child.exited


async def test_a_stubborn_child_is_killed_when_its_grace_is_over(
    children: Children, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    child = children.start("stubborn", "stubborn_child", {"ready": str(ready)})
    await asyncio.to_thread(wait_for, ready.exists, "the child")

    await child.stop(grace=0.1)

    assert -signal.SIGKILL == await child.exited


async def test_no_child_holds_the_lifeline_of_another(children: Children) -> None:
    alone = children.start("curious", "curious_child", {})
    before = await alone.exited

    children.start("obedient", "obedient_child", {})
    beside = children.start("curious", "curious_child", {})

    assert before == await beside.exited


async def test_nothing_in_the_current_folder_is_run_by_a_child_or_its_children(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for name in ("json", "zmq", "trusting_child"):
        (checkpoint / f"{name}.py").write_text("import os; os._exit(66)")
    monkeypatch.chdir(checkpoint)

    assert 7 == await children.start("trusting", "trusting_child", {}).exited
    assert "1" == environment()["PYTHONSAFEPATH"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")],
)
def test_an_exit_is_described_for_people(code: int, words: str) -> None:
    assert words == describe_exit(code)
