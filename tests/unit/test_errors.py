"""Errors by their codes, and what a library says in one line."""

from pathlib import Path

import pytest

from r3mes import errors
from r3mes.errors import EngineCrash, InvalidRequest, R3mesError, first_line, of_code


@pytest.mark.parametrize(
    ("code", "kind"), [("engine_crash", EngineCrash), ("known_in_one_place_only", InvalidRequest)]
)
def test_a_code_stands_for_an_error(code: str, kind: type[R3mesError]) -> None:
    found = of_code(code, "Why.")

    assert (kind, code, "Why.") == (type(found), found.code, found.message)


def test_every_error_of_the_tree_is_used_somewhere() -> None:
    rooms = set(Path(errors.__file__).parent.rglob("*.py")) - {Path(errors.__file__)}
    source = "".join(room.read_text() for room in rooms)
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]

    assert [] == [kind.__name__ for kind in kinds if kind.__name__ not in source]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "a"),
        (ValueError(" \n"), "ValueError"),
        (ValueError("x" * 999), "x" * 300),
    ],
)
def test_what_a_library_says_becomes_one_short_line(error: Exception, line: str) -> None:
    assert line == first_line(error)
