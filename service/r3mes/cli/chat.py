"""`r3mes chat`: its options.

What it needs is imported when it runs, for every command loads this module.
"""

from typing import Annotated

import typer

from r3mes.cli.options import DEFAULT_URL, ApiKey, Url


def chat(
    *,
    url: Url = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="By default the first one served.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer; by default what the context holds.")
    ] = None,
    api_key: ApiKey = None,
) -> None:
    """Talk to a running server; the answer streams."""
    from r3mes.cli.talk import talk

    talk(url, model=model, system=system, max_tokens=max_tokens, api_key=api_key)
