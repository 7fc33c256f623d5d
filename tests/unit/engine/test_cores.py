"""The number of threads follows the container's quota, not the machine's size."""

import pytest

from r3mes.engine.cores import quota_cores, usable_cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000\n", 1), ("5000 100000\n", 1)],
)
def test_a_quota_is_whole_cores(text: str, cores: int | None) -> None:
    assert cores == quota_cores(text)


def test_there_is_always_a_core() -> None:
    assert usable_cores() >= 1
