"""Whatever ends a replica in failure, the file for its last word says why, in one line."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.replica import Replica, environment, wait_for

Start = Callable[..., Replica]
FAKE: dict[str, object] = {"engine.runner": "fake"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


def end_of(
    folder: Path, settings: dict[str, object], *, command: str = "replica"
) -> subprocess.CompletedProcess[str]:
    """Run a replica that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "r3mes", command],
        env=environment(folder, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        ("replica", {"server.port": "many"}, "R3MES_SERVER__PORT: Give a whole number."),
        ("replica", {"server.host": "192.0.2.1"}, "192.0.2.1 is not an address of this machine."),
        (
            "replica",
            {"engine.runner": "portable", "model.source": "/no/such"},
            "there is no folder /no/such",
        ),
        ("serve", {"server.prot": 1}, "R3MES_SERVER__PROT is not a setting of R3MES."),
        ("serve", {"model.chat_template": "/no/such"}, "The chat template /no/such cannot be"),
    ],
)
def test_a_start_that_fails_says_why(
    tmp_path: Path, place: Path, command: str, wrong: dict[str, object], said: str
) -> None:
    ended = end_of(tmp_path, {**FAKE, "termination_log": place, **wrong}, command=command)

    assert 2 == ended.returncode
    assert place.read_text().startswith(said)
    assert 1 == place.read_text().count("\n")


@pytest.mark.parametrize("wrong", ["sha256:0badsecret", "sesame\tsecret"])
def test_a_key_that_is_refused_is_not_shown(tmp_path: Path, place: Path, wrong: str) -> None:
    ended = end_of(tmp_path, {**FAKE, "termination_log": place, "api_keys": wrong})

    assert 2 == ended.returncode
    assert place.read_text().startswith("R3MES_API_KEYS, entry 1: ")
    assert "secret" not in place.read_text()


def test_a_place_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    ended = end_of(tmp_path, {**FAKE, "termination_log": tmp_path})

    assert 2 == ended.returncode
    assert ended.stderr.endswith(
        f"r3mes: R3MES_TERMINATION_LOG: {tmp_path} cannot be written: Is a directory.\n"
    )


def test_a_part_that_was_killed_is_named(start_replica: Start, place: Path) -> None:
    replica = start_replica({**FAKE, "termination_log": place}).wait_ready()

    replica.web.kill()

    assert 1 == replica.wait_end()
    assert "The parent of the API workers ended: killed by SIGKILL.\n" == place.read_text()


def test_under_serve_it_tells_of_the_last_failure_until_the_replica_is_back(
    start_replica: Start, place: Path
) -> None:
    served = start_replica({**FAKE, "termination_log": place}, command="serve").wait_ready()

    served.engine.kill()

    killed = "The engine ended: killed by SIGKILL.\n"
    wait_for(lambda: place.read_text() == killed, "the reason")
    wait_for(lambda: place.read_text() == "" and served.is_ready(), "another replica")
    assert 0 == served.stop(signal.SIGINT)
    assert "" == place.read_text()


def test_another_command_in_the_same_container_does_not_write_there(
    tmp_path: Path, place: Path
) -> None:
    ended = end_of(
        tmp_path, {"termination_log": place, "server.port": "many"}, command="show-config"
    )

    assert 2 == ended.returncode
    assert not place.exists()
