"""Writes what a comparison found: a page, its numbers as JSON, a picture; and says what was missed.

Owns the goals. Knows nothing of how the figures were taken.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.servers import OURS, Missing, Server
from r3mes.bench.figures import Figures

SMALL = f"{OURS} int8"
IN_PROCESS = f"{OURS}'s engine in process"
PAIRS = (
    (OURS, "llama-server"),
    (OURS, "vLLM"),
    (OURS, "transformers serve"),
    (OURS, "FastAPI + generate"),
    (SMALL, "llama-server q8_0"),
    (SMALL, OURS),
    (OURS, IN_PROCESS),
)
# What one's tokens/s have to be, at so many streams, as parts of the other's.
GOALS = {
    (OURS, "llama-server"): {1: 1.1, 4: 1.2, 16: 1.5, 64: 1.6},
    (OURS, "vLLM"): {16: 1.2, 64: 1.2},
    (OURS, "transformers serve"): {1: 2.5, 16: 4.0},
    (SMALL, "llama-server q8_0"): {1: 1.2, 16: 2.0},
    (SMALL, OURS): {1: 2.2},
    (OURS, IN_PROCESS): {16: 0.90},
}
# What our median time to the first token of a burst may be, as a part of the other's.
BURST_GOALS = {"llama-server": 0.4, "vLLM": 0.8}
START_GOAL_S = 15
NOISE = 0.95  # of a level's tokens/s that the next higher one may have without counting as a fall


@dataclass(frozen=True)
class Round:
    """One server in one round: by level what was measured, or why not."""

    server: str
    start_s: float | None
    levels: dict[int, Figures]
    burst: Figures | None
    failure: str | None


@dataclass(frozen=True)
class Median:
    """Of the rounds of one server at one level; the times are medians of the rounds' own."""

    tokens_per_s: float
    first_token_ms: float
    inter_token_ms: float
    errors: int


Medians = dict[tuple[str, int], Median | None]


@dataclass(frozen=True)
class Section:
    """What was found with one model."""

    size: str
    words: str  # what was asked
    count: int  # of rounds
    servers: Sequence[Server]
    missing: Sequence[Missing]
    rounds: Sequence[Round]

    @property
    def names(self) -> list[str]:
        """Servers first, as they were started, and what is none."""
        seen = dict.fromkeys(round_.server for round_ in self.rounds)
        return [name for name in seen if name != IN_PROCESS] + [IN_PROCESS] * (IN_PROCESS in seen)

    @property
    def levels(self) -> list[int]:
        return sorted({level for round_ in self.rounds for level in round_.levels})

    def of(self, name: str) -> list[Round]:
        return [round_ for round_ in self.rounds if round_.server == name]

    def medians(self) -> Medians:
        return {
            (name, level): middle([round_.levels.get(level) for round_ in self.of(name)])
            for name in self.names
            for level in self.levels
        }

    def burst(self, name: str) -> Median | None:
        return middle([round_.burst for round_ in self.of(name)])


def write_report(page: Path, sections: Sequence[Section], starts: Sequence[float]) -> None:
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": command(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "starts": list(starts),
        "sections": [as_facts(it) for it in sections],
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    picture = page.with_suffix(".svg")
    lines = heading(facts, picture.name)
    for it in sections:
        lines += [f"## {it.size}: {it.words}", ""]
        lines += [*tables(it), *verdicts(it), *failures(it.rounds), ""]
    lines += ["## Start", "", start_line(starts), "", *commands(sections[0].servers), ""]
    page.write_text("\n".join(lines))
    draw(picture, sections[0])


def as_facts(it: Section) -> dict[str, Any]:
    return {
        **asdict(it),
        "servers": [
            {**asdict(s), "command": s.shown_command, "model": "model"} for s in it.servers
        ],
    }


def middle(rounds: Sequence[Figures | None]) -> Median | None:
    seen = [figures for figures in rounds if figures]
    if not seen:
        return None
    first = [level.first_token.p50 for level in seen if level.first_token]
    inter = [level.inter_token.p50 for level in seen if level.inter_token]
    return Median(
        tokens_per_s=median(level.output_tokens_per_s for level in seen),
        first_token_ms=median(first) if first else float("nan"),
        inter_token_ms=median(inter) if inter else float("nan"),
        errors=sum(sum(level.errors.values()) for level in seen),
    )


def heading(facts: dict[str, Any], picture: str) -> list[str]:
    return [
        "# Servers side by side",
        "",
        "Models with random weights in float32, streamed over HTTP; rounds alternate, "
        "figures are medians, and ratios are medians of the rounds' own.",
        f"Machine: {facts['machine']}; Python {facts['python']}.",
        f"Taken {facts['at']} at commit {facts['commit']} by `{facts['command']}`.",
        "Client and server share the processors.",
        "A cell is the same requests for every server; slow servers get the first of them.",
        "",
        f"![Output tokens/s and time to first token, by streams]({picture})",
        "",
    ]


def tables(it: Section) -> list[str]:
    medians, names = it.medians(), it.names
    versions = {server.name: f" ({server.version})" for server in it.servers}
    lines = [
        f"{rounds_of(it)}. Output tokens/s · time to first token p50, ms · inter-token p50, ms",
        "",
        "| server | " + " | ".join(f"{level} at a time" for level in it.levels) + " |",
        "|---|" + "---|" * len(it.levels),
    ]
    for name in names:
        cells = (cell(medians[name, level]) for level in it.levels)
        lines.append(f"| {name}{versions.get(name, '')} | " + " | ".join(cells) + " |")
    for mine, theirs in (pair for pair in PAIRS if set(names).issuperset(pair)):
        cells = (ratio_cell(it, mine, theirs, level) for level in it.levels)
        lines.append(f"| {mine} : {theirs}, tokens/s | " + " | ".join(cells) + " |")
    bursts = [(name, seen) for name in names if (seen := it.burst(name))]
    if bursts:
        lines += ["", "Sixteen prompts that arrive together:", ""]
        lines += ["| server | time to first token p50, ms |", "|---|---|"]
        lines += [f"| {name} | {seen.first_token_ms:.0f} |" for name, seen in bursts]
    return [*lines, ""]


def rounds_of(it: Section) -> str:
    """How many, and which levels had fewer."""
    mine = [round_.levels for round_ in it.rounds if round_.server == OURS]
    counts = {level: sum(level in levels for levels in mine) for level in it.levels}
    fewer = [f"{n} at {level}" for level, n in counts.items() if 0 < n < it.count]
    return ", ".join([f"{it.count} rounds", *fewer])


def cell(seen: Median | None) -> str:
    if seen is None:
        return "-"
    errors = f", {seen.errors} errors" if seen.errors else ""
    times = f"{seen.first_token_ms:.0f} · {seen.inter_token_ms:.1f}"
    return f"{seen.tokens_per_s:.1f} · {times}{errors}"


def ratio(it: Section, mine: str, other: str, level: int) -> float | None:
    """Of tokens/s; the median of the rounds' own: a machine is not as fast in each."""
    ours, theirs = ([r.levels.get(level) for r in it.of(name)] for name in (mine, other))
    return middle_ratio((rate(one), rate(two)) for one, two in zip(ours, theirs, strict=False))


def rate(seen: Figures | None) -> float | None:
    return seen.output_tokens_per_s if seen else None


def middle_ratio(pairs: Iterable[tuple[float | None, float | None]]) -> float | None:
    seen = [one / two for one, two in pairs if one is not None and two]
    return median(seen) if seen else None


def ratio_cell(it: Section, mine: str, other: str, level: int) -> str:
    value = ratio(it, mine, other, level)
    return "-" if value is None else f"{value:.2f}"


def verdicts(it: Section) -> list[str]:
    """One line a goal: met or missed, or why it cannot be told."""
    medians = it.medians()
    lines = []
    asked = {*it.names, *(absent.name for absent in it.missing)}
    for (mine, other), goals in GOALS.items():
        for level, goal in goals.items():
            if level not in it.levels or not asked.issuperset((mine, other)):
                continue
            value = ratio(it, mine, other, level)
            wanted = f"{mine}'s tokens/s at {level}, at least {goal} of {other}'s"
            lines.append(verdict(wanted, value, value is not None and value >= goal))
    if it.burst(OURS):
        lines += [burst_verdict(it, other) for other in BURST_GOALS if other in asked]
    if len([level for level in it.levels if medians.get((OURS, level))]) > 1:
        lines.append(rising(it, medians))
    return [*lines, *(f"- {absent.name} was left out: {absent.reason}." for absent in it.missing)]


def burst_verdict(it: Section, other: str) -> str:
    goal = BURST_GOALS[other]
    ours, theirs = ([first_token(r.burst) for r in it.of(name)] for name in (OURS, other))
    value = middle_ratio(zip(ours, theirs, strict=False))
    wanted = f"{OURS}'s first token of a burst, at most {goal} of {other}'s"
    return verdict(wanted, value, value is not None and value <= goal)


def first_token(seen: Figures | None) -> float | None:
    return seen.first_token.p50 if seen and seen.first_token else None


def verdict(wanted: str, value: float | None, met: bool) -> str:
    if value is None:
        return f"- not measured: {wanted}."
    return f"- {'met' if met else 'MISSED'}: {wanted}; {value:.2f}."


def rising(it: Section, medians: Medians) -> str:
    """Levels are compared with the next lower one of the same round."""
    seen = {level: one for level in it.levels if (one := medians.get((OURS, level)))}
    errors = sum(one.errors for one in seen.values())
    steps = [
        middle_ratio((rate(r.levels.get(high)), rate(r.levels.get(low))) for r in it.of(OURS))
        for low, high in pairwise(seen)
    ]
    wanted = f"{OURS}'s tokens/s never fall from {it.levels[0]} to {it.levels[-1]} streams"
    known = [step for step in steps if step is not None]
    if len(known) < len(steps):
        return f"- not measured: {wanted}, no errors; two neighbouring levels share no round."
    met = "MISSED" if errors or min(known) < NOISE else "met"
    shown = ", ".join(f"{one.tokens_per_s:.0f}" for one in seen.values())
    times = ", ".join(f"{step:.2f}" for step in known)
    return f"- {met}: {wanted}, no errors; {shown} (times {times}), {errors} errors."


def start_line(starts: Sequence[float]) -> str:
    if not starts:
        return "- not measured: the start of the bundled model, which failed."
    value = median(starts)
    met = "met" if value <= START_GOAL_S else "MISSED"
    return (
        f"- {met}: from the start of the process to warm, bundled model, "
        f"at most {START_GOAL_S} s; {value:.1f}."
    )


def failures(rounds: Sequence[Round]) -> list[str]:
    return [f"- {r.server} failed in a round: {r.failure}" for r in rounds if r.failure]


def commands(servers: Sequence[Server]) -> list[str]:
    lines = ["Started as:", "", "```"]
    for server in servers:
        variables = " ".join(f"{name}={value}" for name, value in server.environment.items())
        lines.append(f"{variables} {server.shown_command}".strip())
    return [*lines, "```"]


def command() -> str:
    """By which the page can be made again."""
    program = Path(sys.argv[0])
    name = program.parent.name + ("" if program.stem == "__main__" else f".{program.stem}")
    return " ".join(["python -m", name, *sys.argv[1:]])


@cache
def commit() -> str:
    """Asked once: a page that a run has written makes the tree another."""
    asked = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    said = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=here)
    return said.stdout.strip() or "unknown"


def draw(file: Path, it: Section) -> None:
    from matplotlib.figure import Figure

    medians = it.medians()
    picture = Figure(figsize=(10, 3.6), layout="constrained")
    axes = picture.subplots(1, 2)
    for plot, title, attribute in (
        (axes[0], "output tokens/s", "tokens_per_s"),
        (axes[1], "time to first token, ms", "first_token_ms"),
    ):
        for server in it.servers:
            seen = [medians[server.name, level] for level in it.levels]
            values = [getattr(level, attribute, float("nan")) for level in seen]
            plot.plot([str(level) for level in it.levels], values, "o-", label=server.name)
        plot.set_title(title)
        plot.set_xlabel("streams at a time")
        plot.set_ylim(bottom=0)
        plot.legend()
    picture.savefig(file)
