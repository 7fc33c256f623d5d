"""Writes what `engine` measured: a page with every figure and goal, and the rounds as JSON."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.comparison_report import command, commit
from benchmarks.machine import describe_machine

Figure = float
PROFILE = "profile at "
Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Goal:
    """`value` makes it of the medians; it has to be at least `least`, or at most `most`."""

    what: str
    value: Callable[[Figures], float]
    least: float | None = None
    most: float | None = None

    def verdict(self, figures: Figures) -> str:
        value = self.value(figures)
        missed = (self.least is not None and value < self.least) or (
            self.most is not None and value > self.most
        )
        bound = f"at least {self.least}" if self.least is not None else f"at most {self.most}"
        return f"| {self.what} | {bound} | {value:.2f} | {'MISSED' if missed else 'met'} |"


def prefill_roofline(it: Figures) -> float:
    possible = it["2048^3 product, GFLOP/s"] / it["GFLOP a prompt token"]
    return it["float32: prefill, tokens/s"] / possible


def of(above: str, below: str) -> Callable[[Figures], float]:
    return lambda it: it[above] / it[below]


def plain(name: str) -> Callable[[Figures], float]:
    return lambda it: it[name]


GOALS = (
    Goal(
        "float32, one stream: share of the bandwidth roofline",
        plain("bandwidth's time : float32's, one stream"),
        least=0.70,
    ),
    Goal(
        "int8 : float32, one stream",
        plain("float32's time : int8's, one stream"),
        least=2.2,
    ),
    Goal(
        "weights in bfloat16 : float32, one stream",
        plain("float32's time : bfloat16's, one stream"),
        least=1.6,
    ),
    Goal("prefill of 512 tokens: share of the compute roofline", prefill_roofline, least=0.78),
    Goal(
        "int8 : float32, prefill",
        of("int8: prefill, tokens/s", "float32: prefill, tokens/s"),
        least=1.5,
    ),
    Goal(
        "operators in modules : whole step, 16 streams",
        plain("whole step's time : modules', 16 streams"),
        least=0.6,
    ),
    Goal(
        "first token of 1,000 cached tokens : cold",
        plain("cached prompt : cold, first token"),
        most=0.10,
    ),
    Goal(
        "longest gap of a stream beside 2,000 new tokens : steady",
        plain("longest gap beside 2,000 tokens, in steady ones"),
        most=4.0,
    ),
    Goal(
        "engine's time outside the forward pass, 16 streams",
        plain("outside the forward pass at 16"),
        most=0.05,
    ),
    Goal(
        "KV positions allocated and unused, 64 streams of about 160 tokens",
        plain("unused KV positions at 64"),
        most=0.08,
    ),
    Goal(
        "rate of one stream beside a third busy thread : undisturbed",
        plain("rate beside a busy thread : undisturbed"),
        least=0.3,
    ),
)


def write_page(page: Path, rounds: Sequence[Figures]) -> None:
    names = dict.fromkeys(name for one in rounds for name in one)
    medians = {name: median(one[name] for one in rounds if name in one) for name in names}
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "rounds": list(rounds),
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [
        "# The engine in process",
        "",
        "Model: random weights, 135m parameters; contexts of 96 to 224 tokens; no HTTP.",
        f"{len(rounds)} rounds, medians.",
        f"Machine: {facts['machine']}; Python {facts['python']}.",
        f"Taken {facts['at']} at commit {facts['commit']} by `{command()}`.",
        "",
        "| goal | bound | measured | |",
        "|---|---|---|---|",
        *(goal.verdict(medians) for goal in GOALS),
        "",
        "Where a step's time goes, float32, ms; each part asked for by itself:",
        "",
        *profile_table(medians),
        "",
        "| figure | median | each round |",
        "|---|---|---|",
        *(
            f"| {name} | {shown(value)} | {each_round(rounds, name)} |"
            for name, value in medians.items()
            if not name.startswith(PROFILE)
        ),
        "",
    ]
    page.write_text("\n".join(lines))


def each_round(rounds: Sequence[Figures], name: str) -> str:
    return ", ".join(shown(one[name]) for one in rounds if name in one)


def profile_table(medians: Figures) -> list[str]:
    """A column for each number of streams."""
    cells: dict[str, dict[str, float]] = {}
    for name, value in medians.items():
        if name.startswith(PROFILE):
            streams, _, part = name.removeprefix(PROFILE).partition(": ")
            cells.setdefault(part.removesuffix(", ms"), {})[streams] = value
    columns = list(next(iter(cells.values())))
    return [
        "| part | " + " | ".join(f"{streams} streams" for streams in columns) + " |",
        "|---|" + "---|" * len(columns),
        *(
            f"| {part} | " + " | ".join(f"{row[streams]:.1f}" for streams in columns) + " |"
            for part, row in cells.items()
        ),
    ]


def shown(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
