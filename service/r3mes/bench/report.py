"""Shows figures: a table, JSON, a picture. Knows nothing of how they were taken."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.table import Table

from r3mes.bench.figures import Figures, Spread
from r3mes.errors import StartError


def table(figures: Sequence[Figures]) -> Table:
    made = Table("load", box=None, pad_edge=False)
    for column in ("tokens/s", "requests/s", "first token ms", "inter-token ms", "errors"):
        made.add_column(column, justify="right", no_wrap=column != "errors")
    made.caption = "times are p50 / p95 / p99"
    for level in figures:
        made.add_row(
            level.load,
            f"{level.output_tokens_per_s:.1f}",
            f"{level.requests_per_s:.2f}",
            show(level.first_token),
            show(level.inter_token),
            show_errors(level),
        )
    return made


def show(times: Spread | None) -> str:
    if times is None:
        return "-"
    return " / ".join(f"{value:.{0 if value >= 100 else 1}f}" for value in asdict(times).values())


def show_errors(level: Figures) -> str:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in level.errors.items())
    return f"{kinds} of {level.requests}" if kinds else "0"


def write_json(path: Path, figures: Sequence[Figures], *, about: dict[str, Any]) -> None:
    text = json.dumps({**about, "levels": [asdict(f) for f in figures]}, indent=2)
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise StartError(
            f"The figures could not be written to {path}: {error.strerror}."
        ) from error


def refuse_without_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise StartError("--plot needs matplotlib, which comes with the extra `engine`.")


def draw(path: Path, figures: Sequence[Figures], *, title: str) -> None:
    """Throughput, time to first token and inter-token latency over the load."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 3.6), layout="constrained")
    picture.suptitle(title)
    rate, first, inter = picture.subplots(1, 3)
    names = [level.load for level in figures]
    rate.bar(names, [level.output_tokens_per_s for level in figures])
    rate.set_title("output tokens/s")
    for axes, title_, spreads in (
        (first, "time to first token, ms", [level.first_token for level in figures]),
        (inter, "inter-token latency, ms", [level.inter_token for level in figures]),
    ):
        axes.set_title(title_)
        for share in ("p50", "p95", "p99"):
            axes.plot(names, [getattr(s, share, float("nan")) for s in spreads], "o-", label=share)
        axes.legend()
    for axes in (rate, first, inter):
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", rotation=20)
    try:
        picture.savefig(path)
    except (OSError, ValueError) as error:
        raise StartError(f"The picture could not be written to {path}: {error}") from error
