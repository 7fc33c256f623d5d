"""The number of threads follows the container's quota, not the machine's size."""

from pathlib import Path

import pytest

from r3mes.engine.cores import quota_cores, usable_cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000\n", 1), ("5000 100000\n", 1)],
)
def test_a_quota_of_version_2_is_whole_cores(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)

    assert cores == quota_cores(tmp_path)


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", None), ("300000\n", 3), ("5000\n", 1)])
def test_a_quota_of_version_1_is_whole_cores(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")

    assert cores == quota_cores(tmp_path)


def test_without_a_quota_there_is_always_a_core(tmp_path: Path) -> None:
    assert quota_cores(tmp_path) is None
    assert usable_cores(tmp_path) >= 1


def test_a_quota_bounds_the_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")

    assert 1 == usable_cores(tmp_path)
