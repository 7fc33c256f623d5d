"""`r3mes bench`: measures a running server from the terminal."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from r3mes import __version__
from r3mes.bench import report
from r3mes.bench.caller import Caller, Outcome
from r3mes.bench.figures import Figures
from r3mes.bench.measure import Plan, measure
from r3mes.cli.server import DEFAULT_URL, ApiKey, Url, connect, served_model
from r3mes.errors import StartError


def bench(
    *,
    url: Url = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="By default the first one served.")] = None,
    api_key: ApiKey = None,
    endpoint: Annotated[Literal["chat", "completions"], typer.Option()] = "chat",
    concurrency: Annotated[
        str, typer.Option(help="Streams at a time, one level after the other.")
    ] = "1,4,16",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Requests a second at random moments, instead of levels."),
    ] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests of each level.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds in which a level's requests may start.")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1)] = 128,
    output_tokens: Annotated[int, typer.Option(min=1)] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a request may take.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the prompts and of the random moments.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (.png or .svg).")] = None,
) -> None:
    """Measure a running server: time to first token, inter-token latency, tokens/s, errors."""
    if plot:
        report.refuse_without_matplotlib()
    plan = Plan(
        levels=() if rate else read_levels(concurrency),
        rate=rate,
        requests=requests,
        seconds=duration,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        seed=seed,
    )
    with connect(url, api_key=api_key) as client:
        name = model or served_model(client)
    caller = Caller(url, model=name, endpoint=endpoint, api_key=api_key, timeout_s=timeout)
    figures = run(plan, caller)
    Console().print(report.table(figures))
    about = describe(plan, caller)
    if json_file:
        report.write_json(json_file, figures, about=about)
    if plot:
        report.draw(plot, figures, title=f"{name}: {prompt_tokens} tokens in, {output_tokens} out")
    if all(level.requests == sum(level.errors.values()) for level in figures):
        raise typer.Exit(1)


def read_levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or min(levels) < 1:
        raise StartError(f"--concurrency takes numbers like 1,4,16, not {text!r}.")
    return levels


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
