"""Free memory under the limits of a container."""

from pathlib import Path

import torch

from r3mes.engine.memory import cgroup_free, free_memory


def write(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


def test_a_limit_counts_what_is_used_without_the_file_cache(tmp_path: Path) -> None:
    write(
        tmp_path,
        memory_dot_max="1000\n",
        memory_dot_current="700\n",
        memory_dot_stat="anon 400\ninactive_file 250\n",
    )

    assert 1000 - (700 - 250) == cgroup_free(tmp_path)


def test_the_first_version_of_cgroups_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("5000")
    (tmp_path / "memory/memory.usage_in_bytes").write_text("2000")
    (tmp_path / "memory/memory.stat").write_text("cache 1\ntotal_inactive_file 500\n")

    assert 3500 == cgroup_free(tmp_path)


def test_no_limit_is_endless(tmp_path: Path) -> None:
    write(tmp_path, memory_dot_max="max\n")

    assert 1 << 62 == cgroup_free(tmp_path)


def test_this_machine_has_some_memory_left() -> None:
    assert 1 << 20 < free_memory(torch.device("cpu")) < 1 << 50
