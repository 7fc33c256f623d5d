"""Writes what a comparison found: a page, its numbers as JSON, a picture; and says what was missed.

Owns the goals. Knows nothing of how the figures were taken.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.servers import OURS, Missing, Server
from r3mes.bench.figures import Figures

SMALL = f"{OURS} int8"
PAIRS = (
    (OURS, "llama-server"),
    (OURS, "vLLM"),
    (OURS, "transformers serve"),
    (SMALL, "llama-server q8_0"),
    (SMALL, OURS),
)
# What one's tokens/s have to be, at so many streams, as parts of the other's.
GOALS = {
    (OURS, "llama-server"): {1: 1.1, 4: 1.2, 16: 1.5, 64: 1.6},
    (OURS, "vLLM"): {16: 1.2, 64: 1.2},
    (OURS, "transformers serve"): {16: 4.0},
    (SMALL, "llama-server q8_0"): {1: 1.2, 16: 2.0},
    (SMALL, OURS): {1: 2.2},
}


@dataclass(frozen=True)
class Round:
    """One server in one round: by level what was measured, or why not."""

    server: str
    start_s: float | None
    levels: dict[int, Figures]
    failure: str | None


@dataclass(frozen=True)
class Median:
    """Of the rounds of one server at one level; the times are medians of the rounds' own."""

    tokens_per_s: float
    first_token_ms: float
    inter_token_ms: float
    errors: int


def write_report(
    page: Path,
    course: dict[str, Any],
    servers: Sequence[Server],
    missing: Sequence[Missing],
    rounds: Sequence[Round],
) -> None:
    medians = {
        (server.name, streams): middle(rounds, server.name, streams)
        for server in servers
        for streams in course["levels"]
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "course": course,
        "servers": [{**asdict(s), "command": s.shown_command, "model": "model"} for s in servers],
        "missing": [asdict(absent) for absent in missing],
        "rounds": [asdict(round_) for round_ in rounds],
    }
    page.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [*heading(facts), *tables(course, servers, medians), *verdicts(medians, rounds)]
    lines += [f"- {absent.name} was left out: {absent.reason}." for absent in missing]
    lines += failures(rounds)
    page.write_text("\n".join([*lines, "", *commands(servers), ""]))
    draw(page.with_suffix(".svg"), course["levels"], servers, medians)
    sys.stdout.write(page.read_text())


def middle(rounds: Sequence[Round], server: str, streams: int) -> Median | None:
    seen = [r.levels[streams] for r in rounds if r.server == server and streams in r.levels]
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


def heading(facts: dict[str, Any]) -> list[str]:
    course = facts["course"]
    return [
        "# Servers side by side",
        "",
        f"Model: random weights, {course['size']} parameters, float32; "
        f"{course['prompt_tokens']} tokens in, {course['output_tokens']} out, streamed over HTTP.",
        f"{course['rounds']} rounds, alternating, {course['threads']} threads, medians.",
        f"Machine: {facts['machine']}; Python {facts['python']}.",
        f"Taken {facts['at']} at commit {facts['commit']} by `make bench`.",
        "Client and server share the processors.",
        "",
    ]


def tables(
    course: dict[str, Any],
    servers: Sequence[Server],
    medians: dict[tuple[str, int], Median | None],
) -> list[str]:
    levels = course["levels"]
    lines = [
        "Output tokens/s · time to first token p50, ms · inter-token p50, ms",
        "",
        "| server | " + " | ".join(f"{streams} at a time" for streams in levels) + " |",
        "|---|" + "---|" * len(levels),
    ]
    for server in servers:
        cells = (cell(medians[server.name, streams]) for streams in levels)
        lines.append(f"| {server.name} ({server.version}) | " + " | ".join(cells) + " |")
    there = {server.name for server in servers}
    for mine, theirs in (pair for pair in PAIRS if there.issuperset(pair)):
        cells = (ratio_cell(medians, mine, theirs, streams) for streams in levels)
        lines.append(f"| {mine} : {theirs}, tokens/s | " + " | ".join(cells) + " |")
    return [*lines, ""]


def cell(seen: Median | None) -> str:
    if seen is None:
        return "-"
    errors = f", {seen.errors} errors" if seen.errors else ""
    times = f"{seen.first_token_ms:.0f} · {seen.inter_token_ms:.1f}"
    return f"{seen.tokens_per_s:.1f} · {times}{errors}"


def ratio(
    medians: dict[tuple[str, int], Median | None], mine: str, other: str, streams: int
) -> float | None:
    ours, theirs = medians.get((mine, streams)), medians.get((other, streams))
    if ours is None or theirs is None or not theirs.tokens_per_s:
        return None
    return ours.tokens_per_s / theirs.tokens_per_s


def ratio_cell(
    medians: dict[tuple[str, int], Median | None], mine: str, other: str, streams: int
) -> str:
    value = ratio(medians, mine, other, streams)
    return "-" if value is None else f"{value:.2f}"


def verdicts(medians: dict[tuple[str, int], Median | None], rounds: Sequence[Round]) -> list[str]:
    """One line a goal: met or missed, or why it cannot be told."""
    lines = []
    for (mine, other), goals in GOALS.items():
        for streams, goal in goals.items():
            value = ratio(medians, mine, other, streams)
            wanted = f"{mine}'s tokens/s at {streams}, at least {goal} of {other}'s"
            if value is None:
                lines.append(f"- not measured: {wanted}.")
            else:
                lines.append(f"- {'met' if value >= goal else 'MISSED'}: {wanted}; {value:.2f}.")
    starts = [r.start_s for r in rounds if r.server == OURS and r.start_s is not None]
    if starts:
        lines.append(f"- From the start of the process to warm: {median(starts):.1f} s.")
    return lines


def failures(rounds: Sequence[Round]) -> list[str]:
    return [f"- {r.server} failed in a round: {r.failure}" for r in rounds if r.failure]


def commands(servers: Sequence[Server]) -> list[str]:
    lines = ["Started as:", "", "```"]
    for server in servers:
        variables = " ".join(f"{name}={value}" for name, value in server.environment.items())
        lines.append(f"{variables} {server.shown_command}".strip())
    return [*lines, "```"]


def commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    said = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=here)
    return said.stdout.strip() or "unknown"


def draw(
    file: Path,
    levels: Sequence[int],
    servers: Sequence[Server],
    medians: dict[tuple[str, int], Median | None],
) -> None:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(10, 3.6), layout="constrained")
    axes = picture.subplots(1, 2)
    for plot, title, attribute in (
        (axes[0], "output tokens/s", "tokens_per_s"),
        (axes[1], "time to first token, ms", "first_token_ms"),
    ):
        for server in servers:
            seen = [medians[server.name, streams] for streams in levels]
            values = [getattr(level, attribute, float("nan")) for level in seen]
            plot.plot([str(streams) for streams in levels], values, "o-", label=server.name)
        plot.set_title(title)
        plot.set_xlabel("streams at a time")
        plot.set_ylim(bottom=0)
        plot.legend()
    picture.savefig(file)
