import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.comparison_report import (
    BURST_GOALS,
    GOALS,
    IN_PROCESS,
    Round,
    Section,
    commit,
    verdicts,
    write_report,
)
from benchmarks.servers import Missing, Server
from r3mes.bench.figures import Figures, Spread

NAMES = list(dict.fromkeys(name for pair in GOALS for name in pair if name != IN_PROCESS))
LEVELS = (1, 4, 16, 64, 256)


def figures(tokens_per_s: float, *, first_ms: float = 100, errors: int = 0) -> Figures:
    times = Spread(first_ms, first_ms, first_ms)
    kinds = {"late": errors} if errors else {}
    return Figures("x", 4, kinds, 1.0, 1.0, tokens_per_s, 128, 64, times, times, times)


def round_of(name: str, tokens_per_s: float = 100, *, errors: int = 0) -> Round:
    levels = {level: figures(tokens_per_s, errors=errors) for level in LEVELS}
    return Round(name, start_s=1.0, levels=levels, burst=figures(1), failure=None)


def section(rounds: list[Round], *, missing: tuple[Missing, ...] = (), count: int = 1) -> Section:
    measured = [round_.server for round_ in rounds]
    servers = [Server(name, "1", ("program",), "/") for name in NAMES if name in measured]
    return Section("135m", "128 in", count, servers, missing, rounds)


def test_every_goal_gets_a_line() -> None:
    lines = verdicts(section([round_of(name) for name in [*NAMES, IN_PROCESS]]))

    for (mine, other), goals in GOALS.items():
        for level, goal in goals.items():
            told = f"{mine}'s tokens/s at {level}, at least {goal} of {other}'s; 1.00."
            assert f"- {'met' if goal <= 1 else 'MISSED'}: {told}" in lines
    for other, goal in BURST_GOALS.items():
        assert f"- MISSED: R3MES's first token of a burst, at most {goal} of {other}'s; 1.00." in (
            lines
        )
    assert any("never fall from 1 to 256 streams, no errors" in line for line in lines)


def test_goals_beside_a_missing_peer_are_told_as_not_measured_with_the_reason() -> None:
    rounds = [round_of(name) for name in NAMES if name != "vLLM"]

    lines = verdicts(section(rounds, missing=(Missing("vLLM", "no such program"),)))

    assert [
        "- not measured: R3MES's tokens/s at 16, at least 1.2 of vLLM's.",
        "- not measured: R3MES's tokens/s at 64, at least 1.2 of vLLM's.",
        "- not measured: R3MES's first token of a burst, at most 0.8 of vLLM's.",
        "- vLLM was left out: no such program.",
    ] == [line for line in lines if "vLLM" in line]


def test_an_error_or_a_fall_misses_the_goal_of_rising() -> None:
    fallen = round_of("R3MES")
    fallen.levels[64] = figures(90)
    failed = round_of("R3MES", errors=1)

    for seen in (fallen, failed):
        assert verdicts(section([seen]))[-1].startswith("- MISSED: R3MES's tokens/s never fall")


def hour(ours: float, theirs: float) -> list[Round]:
    """Rates at 16 streams; a burst's first token takes as long as it is slow."""
    return [
        Round(name, 1.0, {16: figures(rate)}, figures(1, first_ms=1000 / rate), None)
        for name, rate in (("R3MES", ours), ("llama-server", theirs))
    ]


def test_what_is_compared_is_of_the_same_round() -> None:
    rounds = [*hour(50, 40), *hour(80, 40), *hour(60, 30)]  # the ratio of medians is 1.5
    rounds[0].levels[64] = figures(55)

    lines = verdicts(section(rounds, count=3))

    assert "- met: R3MES's tokens/s at 16, at least 1.5 of llama-server's; 2.00." in lines
    assert "- MISSED: R3MES's first token of a burst, at most 0.4 of llama-server's; 0.50." in lines
    assert lines[-1].startswith("- met: R3MES's tokens/s never fall")
    assert "60, 55 (times 1.10)" in lines[-1]


def test_levels_of_different_rounds_are_not_compared() -> None:
    first, second = round_of("R3MES"), round_of("R3MES")
    rounds = [replace(first, levels={16: figures(50)}), replace(second, levels={64: figures(90)})]

    assert verdicts(section(rounds, count=2))[-1].startswith("- not measured: R3MES's tokens/s")


def test_a_peer_alone_misses_no_goal_of_ours() -> None:
    assert [] == verdicts(section([round_of("llama-server")]))


def test_a_page_has_numbers_picture_and_the_level_that_had_fewer_rounds(tmp_path: Path) -> None:
    page = tmp_path / "servers.md"
    second = replace(round_of("R3MES"), levels={16: figures(100)})

    write_report(page, [section([round_of("R3MES"), second], count=2)], [4.0, 6.0])

    text = page.read_text()
    assert "2 rounds, 1 at 1, 1 at 4, 1 at 64, 1 at 256. Output tokens/s" in text
    assert "(servers.svg)" in text
    assert "at most 15 s; 5.0." in text
    assert [4.0, 6.0] == json.loads((tmp_path / "servers.json").read_text())["starts"]
    assert (tmp_path / "servers.svg").exists()


def test_all_pages_of_a_run_name_the_commit_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first page changes the tree, so that git then calls it dirty."""
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log; wc -l < {tmp_path}/log\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    commit.cache_clear()

    assert ["1", "1"] == [commit(), commit()]
    commit.cache_clear()
