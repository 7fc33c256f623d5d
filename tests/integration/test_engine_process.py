"""The engine process over real sockets: phases, streams, aborts, and its end in every way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from r3mes.engine.messages import Abort, AbortWorker, EngineReport
from support.engine import answer
from support.engine_process import EngineProcess, engine_process, request


@pytest.fixture(scope="module")
def shared() -> Iterator[EngineProcess]:
    """For tests that leave it as they found it; each has workers of its own names."""
    with engine_process() as running:
        running.report_where(is_ready)
        yield running


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    with engine_process() as running:
        running.report_where(is_ready)
        yield running


def is_ready(report: EngineReport) -> bool:
    return report.phase == "ready"


def test_it_reports_each_phase_on_the_way_to_ready() -> None:
    with engine_process() as running:
        reports = [running.report()]
        while not is_ready(reports[-1]):
            reports.append(running.report())

    phases = list(dict.fromkeys(report.phase for report in reports))
    assert ["starting", "loading", "warming", "ready"] == phases
    last = reports[-1]
    assert last.model is not None
    assert (1.0, 257) == (last.progress, last.model.eos_token_ids[0])
    assert last.warm_ttft is not None
    assert 0 < last.slowest_step
    assert {"warm"} == set(last.phase_seconds)
    assert (0, 0, 0) == (last.stats.prefix_misses, last.stats.blocks_cached, last.stats.blocks_used)
    assert [] == last.steps


def test_a_stream_arrives_token_by_token(shared: EngineProcess) -> None:
    worker = shared.worker("reader")
    worker.submit(7, [65, 66], seed=3)
    updates = worker.until_end(7)

    assert [[id] for id in answer([65, 66], 8, seed=3)] == [update.ids for update in updates]
    assert "length" == updates[-1].finish


def test_two_workers_get_their_own_streams(shared: EngineProcess) -> None:
    one, two = shared.worker("w1"), shared.worker("w2")
    one.submit(1, [1])
    two.submit(1, [1, 2])

    assert answer([1], 8) == [id for update in one.until_end(1) for id in update.ids]
    assert answer([1, 2], 8) == [id for update in two.until_end(1) for id in update.ids]


def test_every_step_is_reported_once(engine: EngineProcess) -> None:
    worker = engine.worker()
    worker.submit(1, [1] * 10, max_tokens=30)
    worker.until_end(1)
    steps = [engine.report_where(lambda report: bool(report.steps)).steps]
    while sum(map(len, steps)) < 30:
        steps.append(engine.report().steps)

    assert 39 == sum(step.tokens for each in steps for step in each)


def test_an_idle_engine_goes_on_reporting(shared: EngineProcess) -> None:
    first = shared.report_where(lambda report: time.monotonic() - report.at < 0.2)
    second = shared.report()
    while (first.steps, first.stats) != (second.steps, second.stats):  # not idle: there was news
        first, second = second, shared.report()

    assert 0.4 < second.at - first.at < 5


def test_an_abort_frees_the_slot() -> None:
    with engine_process(fake_step_ms=5) as running:
        running.report_where(is_ready)
        worker = running.worker()
        worker.submit(1, [1], max_tokens=4000)
        worker.updates()
        worker.send(Abort([1], "client"))

        assert "abort" == worker.until_end(1)[-1].finish
        freed = running.report_where(lambda report: report.stats.aborts == {"client": 1})
        assert (0, 0) == (freed.stats.running, freed.stats.blocks_used)


def test_the_supervisor_ends_the_streams_of_a_dead_worker() -> None:
    with engine_process(fake_step_ms=5) as running:
        running.report_where(is_ready)
        worker = running.worker("w9")
        worker.submit(1, [1], max_tokens=4000)
        worker.updates()
        running.send(AbortWorker("w9"))

        freed = running.report_where(lambda report: report.stats.aborts == {"worker_died": 1})
        assert 0 == freed.stats.blocks_used


def test_a_worker_that_is_gone_is_noticed_by_the_engine_itself() -> None:
    with engine_process(fake_step_ms=5) as running:
        running.report_where(is_ready)
        worker = running.worker()
        worker.submit(1, [1], max_tokens=4000)
        worker.updates()
        worker.socket.close()

        freed = running.report_where(lambda report: report.stats.aborts == {"worker_died": 1})
        assert 0 == freed.stats.running


def test_a_message_that_cannot_be_read_changes_nothing(shared: EngineProcess) -> None:
    worker = shared.worker("mumbler")
    for junk in (b"", b"\xc1", b"\x93\xa6Submit\x01\x02", json.dumps({"a": 1}).encode()):
        worker.socket.send(junk)
    worker.submit(1, [1])

    assert answer([1], 8) == [id for update in worker.until_end(1) for id in update.ids]
    assert "cannot be read" in shared.logged()


def test_what_a_worker_says_at_once_is_all_heard(shared: EngineProcess) -> None:
    worker = shared.worker("hasty")
    worker.send(request(1, [1]), request(2, [2]), Abort([2], "client"))

    ends: dict[int, str | None] = {}
    while len(ends) < 2:
        ends |= {update.stream: update.finish for update in worker.updates() if update.finish}

    assert {1: "length", 2: "abort"} == ends


def test_a_request_that_cannot_be_served_is_refused_and_the_next_one_is(
    shared: EngineProcess,
) -> None:
    worker = shared.worker("careless")
    worker.submit(1, [259])
    worker.submit(2, [1], stop_token_ids=(2**40,))
    worker.submit(3, [1])

    assert "invalid_token_id" == worker.until_end(1)[-1].error
    assert answer([1], 8) == [id for update in worker.until_end(3) for id in update.ids]


def test_sigterm_ends_it_and_sigint_does_not(engine: EngineProcess) -> None:
    engine.process.send_signal(signal.SIGINT)
    worker = engine.worker()
    worker.submit(1, [1])
    worker.until_end(1)
    engine.process.send_signal(signal.SIGTERM)

    assert -signal.SIGTERM == engine.process.wait(10)


def test_the_end_of_the_lifeline_ends_it(engine: EngineProcess) -> None:
    assert engine.process.stdin is not None
    engine.process.stdin.close()

    assert 70 == engine.process.wait(10)


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    with engine_process() as running:
        running.report_where(is_ready)
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, json.dumps(running.orders())],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.communicate()

        gone, _ = psutil.wait_procs([child], timeout=10)
        assert [child] == gone


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "r3mes.engine.process"], stdin=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
child.wait()
"""


def test_a_start_that_cannot_work_is_reported_and_the_exit_is_not_zero(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('none here', name='torch')")
    with engine_process(libraries=tmp_path, runner="portable") as running:
        failed = running.report_where(lambda report: report.phase == "failed")

        assert 1 == running.process.wait(10)
        assert failed.detail.startswith("torch is not installed")
        told = json.loads(running.logged().splitlines()[-1])
        assert "r3mes.engine.process" == told["logger"]
        assert told["message"].startswith("torch is not installed")


def test_the_fake_engine_needs_no_torch(shared: EngineProcess) -> None:
    maps = psutil.Process(shared.process.pid).memory_maps()

    assert [] == [each.path for each in maps if "torch" in each.path]
