"""`r3mes check-up`: its options.

What it needs is imported when it runs, for every command loads this module.
"""

from typing import Annotated

import typer

from r3mes.cli.options import DEFAULT_URL, ApiKey, Url


def check_up(
    *,
    url: Url = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="By default the first one served.")] = None,
    api_key: ApiKey = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds it may take to be ready.")] = 60,
) -> None:
    """Check a running server: wait for ready, chat, stream, see trace header and metrics."""
    from r3mes.cli.examining import examine_and_report

    examine_and_report(url, model=model, api_key=api_key, wait_s=wait)
