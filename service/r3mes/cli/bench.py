"""`r3mes bench`: measures a running server from the terminal.

What it needs is imported when it runs, for every command loads this module.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from r3mes.cli.options import DEFAULT_URL, ApiKey, Url
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
    from r3mes.bench.measure import Plan
    from r3mes.cli.measuring import measure_and_show

    plan = Plan(
        levels=() if rate else read_levels(concurrency),
        rate=rate,
        requests=requests,
        seconds=duration,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        seed=seed,
    )
    measure_and_show(
        plan,
        url=url,
        model=model,
        api_key=api_key,
        endpoint=endpoint,
        timeout_s=timeout,
        json_file=json_file,
        plot=plot,
    )


def read_levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or min(levels) < 1:
        raise StartError(f"--concurrency takes numbers like 1,4,16, not {text!r}.")
    return levels
