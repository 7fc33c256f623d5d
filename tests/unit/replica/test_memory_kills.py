"""What the control group says of processes killed for memory, in both of its versions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from r3mes.replica import memory_kills

Write = Callable[[Path, int, str], None]


def version_1(root: Path, killed: int, limit: str) -> None:
    (root / "memory").mkdir(exist_ok=True)
    (root / "memory" / "memory.oom_control").write_text(
        f"oom_kill_disable 0\nunder_oom 0\noom_kill {killed}\n"
    )
    most = "9223372036854771712" if limit == "max" else limit
    (root / "memory" / "memory.limit_in_bytes").write_text(f"{most}\n")


def version_2(root: Path, killed: int, limit: str) -> None:
    (root / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 2\noom_kill {killed}\n")
    (root / "memory.max").write_text(f"{limit}\n")


in_both_versions = pytest.mark.parametrize("write", [version_1, version_2])


@in_both_versions
def test_processes_killed_since_the_start_are_told_with_the_limit(
    tmp_path: Path, write: Write
) -> None:
    write(tmp_path, 1, str(512 << 20))
    kills = memory_kills.watch(tmp_path)
    write(tmp_path, 4, str(512 << 20))

    assert (
        "The kernel killed 3 processes for lack of memory; the container's limit is 512 MiB."
        == kills.told()
    )


@in_both_versions
def test_no_limit_is_told_where_there_is_none(tmp_path: Path, write: Write) -> None:
    write(tmp_path, 0, "max")
    kills = memory_kills.watch(tmp_path)
    write(tmp_path, 1, "max")

    assert "The kernel killed 1 process for lack of memory." == kills.told()


@in_both_versions
def test_what_was_killed_before_the_start_is_nobody_s_reason(tmp_path: Path, write: Write) -> None:
    write(tmp_path, 7, "max")

    assert "" == memory_kills.watch(tmp_path).told()


def test_a_system_that_counts_none_tells_none(tmp_path: Path) -> None:
    assert "" == memory_kills.watch(tmp_path).told()
