"""Whoever dies first, clients are told, nothing is left running and the exit status says it."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.completions import DONE, complete, error_code, stream
from support.replica import SERVICE, Replica, environment, running_replica, wait_for

Start = Callable[..., Replica]
SLOW = {"engine.runner": "fake", "engine.fake_step_ms": 20}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica below `r3mes serve`, for tests after which it serves again."""
    with running_replica(tmp_path_factory.mktemp("served"), SLOW, command="serve") as replica:
        yield replica
        assert 0 == replica.stop(signal.SIGINT)


def test_no_code_in_the_current_folder_is_run_by_any_process(tmp_path: Path) -> None:
    folder, marks = tmp_path / "checkpoint", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    for name in ("json", "asyncio", "zmq", "pydantic", "r3mes", "gunicorn", "uvloop", "msgspec"):
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w')\nraise SystemExit\n")

    with running_replica(tmp_path / "run", SLOW, command="serve", cwd=folder) as replica:
        assert 200 == complete(replica.wait_ready()).status_code
    assert [] == list(marks.iterdir())


def test_a_killed_engine_ends_every_request_with_engine_crash_and_the_replica_with_1(
    start_replica: Start,
) -> None:
    replica = start_replica(SLOW).wait_ready()
    answers: list[httpx.Response] = []
    plain = threading.Thread(
        target=lambda: answers.append(complete(replica, max_tokens=5000)), name="plain"
    )

    with stream(replica, max_tokens=5000) as events:
        events.first()
        plain.start()
        wait_for(lambda: replica.metric("r3mes_requests_running") == 2, "both running")
        replica.engine.kill()
        *_, last, done = events.rest()
    plain.join(30)

    assert "engine_crash" == error_code(last)
    assert DONE == done
    assert [500] == [answer.status_code for answer in answers]
    assert "engine_crash" == answers[0].json()["error"]["code"]
    assert 1 == replica.wait_end()
    assert "The engine ended: killed by SIGKILL." == replica.logged("the replica ends")[0]["reason"]
    replica.assert_no_process_left()


def test_a_killed_worker_is_replaced_and_its_streams_leave_the_engine(served: Replica) -> None:
    replica = served.wait_ready()
    (worker,) = replica.workers

    with pytest.raises(httpx.TransportError), stream(replica, max_tokens=5000) as events:  # noqa: PT012
        events.first()
        worker.kill()
        events.rest()

    replica.wait_ready()
    wait_for(lambda: replica.metric("r3mes_requests_running") == 0, "a free slot")
    assert 0 == replica.metric("r3mes_kv_blocks", state="used")
    assert worker.pid not in [other.pid for other in replica.workers]
    assert 200 == complete(replica).status_code


@pytest.mark.parametrize(("victim", "status"), [("web", 1), ("supervisor", -signal.SIGKILL)])
def test_no_process_is_left_whoever_is_killed(
    start_replica: Start, victim: str, status: int
) -> None:
    replica = start_replica({**SLOW, "server.workers": 2}).wait_ready()
    assert 5 == len(replica.processes())  # supervisor, engine, the workers' parent, two workers

    process: psutil.Process = getattr(replica, victim)
    process.kill()

    assert status == replica.wait_end()
    replica.assert_no_process_left()


def test_a_replica_that_runs_on_another_port_is_not_disturbed_by_one_that_cannot_start(
    fake_replica: Replica, tmp_path: Path
) -> None:
    port = fake_replica.url.rpartition(":")[2]

    failed = start_in_vain(tmp_path, {"engine.runner": "fake", "server.port": port})

    assert 2 == failed.returncode
    assert (
        f"r3mes: Port {port} of 127.0.0.1 is in use; stop what listens there or take another port."
        == last_line(failed)
    )
    assert fake_replica.is_ready()


def test_an_address_of_another_machine_is_one_clear_sentence(tmp_path: Path) -> None:
    failed = start_in_vain(tmp_path, {"engine.runner": "fake", "server.host": "192.0.2.1"})

    assert 2 == failed.returncode
    assert "r3mes: 192.0.2.1 is not an address of this machine." == last_line(failed)


def test_a_full_disk_is_one_clear_sentence(tmp_path: Path) -> None:
    failed = start_in_vain(tmp_path, {"engine.runner": "fake"}, before="ulimit -f 0")

    assert 2 == failed.returncode
    assert (
        "r3mes: There is no folder for temporary files with space left; make room or set TMPDIR."
        == last_line(failed)
    )


def test_an_engine_that_cannot_start_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # an install without the extra `engine`

    failed = start_in_vain(tmp_path, {})

    assert 2 == failed.returncode
    assert last_line(failed).startswith("r3mes: ")
    assert "torch" in last_line(failed)


@pytest.mark.parametrize("runner", ["fake", "portable"])
def test_a_chat_template_that_is_not_there_is_one_clear_sentence(
    tmp_path: Path, runner: str
) -> None:
    template = tmp_path / "nothing.jinja"

    failed = start_in_vain(
        tmp_path, {"engine.runner": runner, "model.chat_template": str(template)}
    )

    assert 2 == failed.returncode
    assert 1 == len(failed.stderr.splitlines())
    assert f"r3mes: The chat template {template} cannot be read." == last_line(failed)


def start_in_vain(
    folder: Path, settings: dict[str, object], *, before: str = ":"
) -> subprocess.CompletedProcess[str]:
    """Run a replica that is expected to end by itself."""
    command = f"{before}; exec {sys.executable} -m r3mes replica"
    return subprocess.run(
        ["bash", "-c", command],
        env=environment(folder, {"server.port": 0, **settings}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def last_line(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stderr.splitlines()[-1]


def test_serve_starts_a_dead_replica_again_and_says_so(served: Replica) -> None:
    first = served.wait_ready().engine

    first.kill()

    wait_for(lambda: "starting it again in 2 s" in served.log, "a word about it")
    wait_for(lambda: served.is_ready() and served.engine.pid != first.pid, "another engine")
    assert 200 == complete(served).status_code
    assert f"is ready at {served.url}" in served.out
    assert f"curl {served.url}/v1/chat/completions" in served.out


@pytest.mark.parametrize("victim", ["engine", "web"])
def test_a_part_that_is_killed_during_the_start_is_worth_another_start(
    start_replica: Start, victim: str
) -> None:
    replica = start_replica({"engine.runner": "fake", "engine.fake_step_ms": 300})
    wait_for(lambda: len(replica.processes()) >= 3, "supervisor, engine, workers' parent")

    getattr(replica, victim).kill()

    assert 1 == replica.wait_end()
    (end,) = replica.logged("the replica ends")
    assert "killed by SIGKILL" in end["reason"]


def test_a_start_that_fails_after_a_good_one_is_tried_again(start_replica: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = start_replica({**SLOW, "server.port": port}, command="serve").wait_ready()

    served.supervisor.kill()
    with wait_for(lambda: listener_on(port), "the port of the dead replica"):
        wait_for(lambda: "is in use" in served.log, "a start in vain")
        wait_for(lambda: "exit code 2); starting it again" in served.log, "another try")

    wait_for(served.is_ready, "readiness again")
    assert 0 == served.stop()


def listener_on(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_the_first_process_of_a_container_ends_by_sigterm_however_early(tmp_path: Path) -> None:
    asked_to_end = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"
    (tmp_path / "typer.py").write_text(asked_to_end)  # in the middle of the imports
    program = "from r3mes.__main__ import main; main()"

    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**environment(tmp_path, {}), "PYTHONPATH": f"{tmp_path}:{SERVICE}"},
        capture_output=True,
        check=False,
    )

    assert (143, b"") == (ended.returncode, ended.stderr)


def test_nothing_is_left_when_serve_itself_is_killed(start_replica: Start) -> None:
    served = start_replica(SLOW, command="serve")
    wait_for(lambda: len(served.processes()) >= 4, "serve, supervisor, engine, workers' parent")

    served.process.kill()

    served.assert_no_process_left()
