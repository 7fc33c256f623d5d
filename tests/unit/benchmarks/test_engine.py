from pathlib import Path

import pytest

from benchmarks.engine import PARTS, parts, planned_s
from benchmarks.engine_report import write_page

MEASURED = "float32: step at 1, ms"


def test_three_rounds_have_every_part_and_one_has_what_goals_need() -> None:
    seen = [part for number in range(3) for part in parts(number)]

    assert set(PARTS) == set(seen)
    assert set(PARTS) - set(parts(0)) == {"float32, KV float16"}
    assert sum(PARTS[part] for part in seen) == planned_s(3)


def test_rounds_alternate() -> None:
    first, second = ([part for part in parts(n) if part in ("float32", "int8")] for n in (0, 1))

    assert first == second[::-1]


def test_a_figure_of_some_rounds_is_their_median(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.engine_report.GOALS", ())
    page = tmp_path / "page.md"

    profile = {"profile at 1: whole step, ms": 2.0}
    write_page(page, [{MEASURED: 1.0, **profile}, {MEASURED: 3.0, "rare": 7.0, **profile}])

    assert f"| {MEASURED} | 2 | 1, 3 |" in page.read_text()
    assert "| rare | 7 | 7 |" in page.read_text()
