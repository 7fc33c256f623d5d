"""The address and the folder of a replica, and the sentence when one cannot be had."""

import socket
import tempfile
from pathlib import Path

import pytest

from r3mes.errors import StartError
from r3mes.replica.places import LOCK, listen, run_folder, url_of
from r3mes.settings import ServerSettings


def test_port_0_takes_a_free_one_and_the_url_names_it() -> None:
    with listen(ServerSettings(port=0)) as listener:
        assert f"http://127.0.0.1:{listener.getsockname()[1]}" == url_of(listener)


def test_the_url_of_every_address_is_one_that_can_be_asked_here() -> None:
    with listen(ServerSettings(host="0.0.0.0", port=0)) as listener:  # noqa: S104
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} of 127.0.0.1 is in use"):
            listen(ServerSettings(port=port))


def test_a_host_that_is_no_address_is_told() -> None:
    with pytest.raises(StartError, match="nowhere is not an address"):
        listen(ServerSettings(host="nowhere", port=0))


def test_the_run_folder_is_private_and_goes_away() -> None:
    with run_folder() as folder:
        assert 0o700 == folder.stat().st_mode & 0o777
    assert not folder.exists()


def test_what_a_killed_replica_left_goes_with_the_next_and_a_living_one_s_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "r3mes-dead"
    dead.mkdir()
    (dead / LOCK).write_text("1\n")
    foreign = tmp_path / "r3mes-notes"
    foreign.mkdir()
    (foreign / "lock").write_text("of another program\n")

    with run_folder() as living, run_folder() as next_one:
        assert {living, next_one, foreign} == set(tmp_path.iterdir())


def test_a_folder_whose_name_does_not_fit_into_a_socket_address_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with pytest.raises(StartError, match="too long for a socket"), run_folder():
        pass
