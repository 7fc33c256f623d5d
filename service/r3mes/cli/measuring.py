"""A measurement as the terminal shows it: a bar while it runs, then its figures."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from r3mes import __version__
from r3mes.bench import report
from r3mes.bench.caller import Caller, Outcome
from r3mes.bench.figures import Figures
from r3mes.bench.measure import Plan, measure
from r3mes.cli.server import connect, served_model


def measure_and_show(
    plan: Plan,
    *,
    url: str,
    model: str | None,
    api_key: str | None,
    endpoint: Literal["chat", "completions"],
    timeout_s: float,
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """Print the figures, and write them where that is asked for."""
    if plot:
        report.refuse_without_matplotlib()
    with connect(url, api_key=api_key) as client:
        name = model or served_model(client)
    caller = Caller(url, model=name, endpoint=endpoint, api_key=api_key, timeout_s=timeout_s)
    figures = run(plan, caller)
    Console().print(report.table(figures))
    about = describe(plan, caller)
    if json_file:
        report.write_json(json_file, figures, about=about)
    if plot:
        report.draw(
            plot, figures, title=f"{name}: {plan.prompt_tokens} tokens in, {plan.output_tokens} out"
        )
    if all(level.requests == sum(level.errors.values()) for level in figures):
        raise typer.Exit(1)


def run(plan: Plan, caller: Caller) -> list[Figures]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # The bar shares the processors with what it measures, so it is drawn twice a second.
    bar = Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        refresh_per_second=2,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:

        def on_level(name: str, count: int | None) -> None:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(name, total=count)

        def on_end(_: Outcome) -> None:
            bar.advance(bar.task_ids[0])

        return asyncio.run(measure(plan, caller, on_level=on_level, on_end=on_end))


def describe(plan: Plan, caller: Caller) -> dict[str, Any]:
    """What one must know to take the same figures again."""
    return {
        "r3mes": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "client": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "url": caller.url,
        "model": caller.model,
        "endpoint": caller.endpoint,
        "prompt_tokens": plan.prompt_tokens,
        "output_tokens": plan.output_tokens,
        "seed": plan.seed,
    }
