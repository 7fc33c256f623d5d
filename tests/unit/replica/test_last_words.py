"""The file in which whoever runs a container finds why it failed."""

from pathlib import Path

import pytest

from r3mes.errors import StartError
from r3mes.replica import last_words


def test_the_reason_is_left_as_one_line(tmp_path: Path) -> None:
    place = tmp_path / "termination-log"

    last_words.leave(place, "There is no folder /models.\n")

    assert "There is no folder /models.\n" == place.read_text()


@pytest.mark.parametrize("letter", ["x", "ş", "文", "🙂"])
def test_a_long_reason_is_cut_between_letters_to_what_kubernetes_keeps(letter: str) -> None:
    form = last_words.in_form("a" + letter * 5000)

    assert last_words.MOST_BYTES - 4 <= len(form) <= last_words.MOST_BYTES
    assert {"a", letter, "\n"} == set(form.decode())


def test_what_no_file_can_hold_is_no_obstacle() -> None:
    assert b"?\n" == last_words.in_form("\udcff")


def test_without_a_place_nothing_is_left() -> None:
    last_words.clear(None)
    last_words.leave(None, "the reason")


def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    place = tmp_path / "termination-log"
    last_words.leave(place, "the reason")

    last_words.clear(place)

    assert "" == place.read_text()


def test_a_place_that_cannot_be_written_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "termination-log"

    with pytest.raises(StartError, match=r"R3MES_TERMINATION_LOG: .* cannot be written: No such"):
        last_words.clear(place)


def test_a_place_that_vanished_does_not_hide_the_failure(tmp_path: Path) -> None:
    last_words.leave(tmp_path / "nowhere" / "termination-log", "the reason")

    assert [] == list(tmp_path.iterdir())
