"""The page of symptoms and the cases that make them know each other."""

import re
from pathlib import Path

import pytest

from e2e.told import symptoms

CASES = Path(__file__).parents[1] / "e2e"


def named_by_cases() -> str:
    return "\n".join(file.read_text() for file in sorted(CASES.glob("test_*.py")))


@pytest.mark.parametrize("heading", symptoms())
def test_a_symptom_is_quoted_and_made_by_a_case(heading: str) -> None:
    assert [] != symptoms()[heading]
    assert re.search(rf'"{re.escape(heading)}"', named_by_cases())
