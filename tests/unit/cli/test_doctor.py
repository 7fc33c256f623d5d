"""What `r3mes doctor` says of a machine, and what it advises."""

from dataclasses import replace

import pytest

from r3mes.cli.doctor import NOT_INSTALLED, Machine, examine
from support.command_line import r3mes

WELL = Machine(
    cores=8,
    operators="avx512vnni",
    missing="",
    remedy="",
    best="avx512vnni",
    torch="2.13.0",
    triton="3.9.0",
    c_compiler="/usr/bin/gcc",
    nvidia=True,
    huge_pages="always [madvise] never",
)


def advice(machine: Machine) -> list[str]:
    return [found.advice for found in examine(machine) if found.advice]


def test_where_nothing_can_be_gained_nothing_is_advised() -> None:
    assert [] == advice(WELL)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"missing": "not built", "operators": "", "remedy": "install g++"}, "install g++: on a"),
        ({"torch": NOT_INSTALLED}, "pip install 'r3mes[engine]'"),
        ({"triton": NOT_INSTALLED}, "`pip install triton`: torch alone is slower"),
        ({"c_compiler": ""}, "install gcc, libc6-dev and Python's headers"),
        ({"huge_pages": "always madvise [never]"}, "echo madvise >"),
    ],
)
def test_what_is_amiss_has_its_remedy(changes: dict[str, str], expected: str) -> None:
    [told] = advice(replace(WELL, **changes))  # type: ignore[arg-type]

    assert expected in told


def test_kernels_are_told_of_where_there_is_a_gpu() -> None:
    told = [found.seen for found in examine(WELL) if found.what == "kernels"]

    assert ["compiled by Triton 3.9.0"] == told
    without = replace(WELL, nvidia=False, triton=NOT_INSTALLED, c_compiler="")
    assert [] == [found for found in examine(without) if found.what == "kernels"]
    assert [] == advice(without)


def test_nothing_is_advised_where_nothing_helps() -> None:
    assert [] == advice(replace(WELL, operators="", missing="this processor lacks AVX2"))


def test_an_older_processor_is_told_and_not_advised() -> None:
    older = replace(WELL, operators="avx2")

    assert [] == advice(older)
    assert "C++, built for avx2; this processor has no avx512vnni" in [
        found.seen for found in examine(older)
    ]


def test_this_machine_is_described() -> None:
    done = r3mes("doctor")

    assert (0, "") == (done.returncode, done.stderr)
    assert ["processor", "operators", "torch", "huge"] == [
        line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")
    ]
