"""What a supervisor hands on and leaves behind."""

from pathlib import Path

from r3mes.replica.supervisor import MOST_REASON, leave_reason, spell_out
from r3mes.settings import Settings


def test_a_child_gets_the_settings_whole_with_the_keys_that_a_dump_masks() -> None:
    settings = Settings(api_keys="one,two", server={"workers": 3}, drain={"linger_s": 0})

    assert settings == Settings(**spell_out(settings))


def test_the_reason_of_an_end_is_left_where_the_container_runtime_looks(tmp_path: Path) -> None:
    place = tmp_path / "termination-log"
    place.touch()

    leave_reason("x" * 2 * MOST_REASON, place=place)

    assert MOST_REASON + 1 == len(place.read_text())


def test_without_such_a_place_nothing_is_written(tmp_path: Path) -> None:
    leave_reason("the reason", place=tmp_path / "nowhere")

    assert [] == list(tmp_path.iterdir())
