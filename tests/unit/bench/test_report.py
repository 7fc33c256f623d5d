"""What becomes of the figures."""

from pathlib import Path

import pytest

from r3mes.bench.report import write_json
from r3mes.errors import StartError


def test_figures_that_cannot_be_written_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"could not be written to .*no/such: No such file"):
        write_json(tmp_path / "no" / "such", [], about={})
