"""`r3mes show-config`: every setting with its value and where the value came from."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import typer

from r3mes import settings
from r3mes.cli.flags import settings_flags

Source = Literal["default", "env", "flag"]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Entry(NamedTuple):
    variable: str
    value: Any
    source: Source


@settings_flags
def show_config(overrides: Mapping[str, Any], *, as_json: JsonFlag = False) -> None:
    """Print every setting, its value and where it came from; secrets are masked."""
    entries = list(explain(overrides, environ=os.environ))
    if as_json:
        typer.echo(json.dumps([entry._asdict() for entry in entries], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.variable, "" if entry.value is None else str(entry.value), entry.source)
    Console(soft_wrap=True).print(table)


def explain(overrides: Mapping[str, Any], *, environ: Mapping[str, str]) -> Iterator[Entry]:
    """Raises StartError when the settings as a whole are refused."""
    chosen = settings.load(overrides).model_dump(mode="json")
    given = {name.upper() for name in environ}
    for variable, _ in settings.variables():
        path = variable.removeprefix(settings.PREFIX).lower().split(settings.NESTING)
        if ".".join(path) in overrides:
            source: Source = "flag"
        else:
            source = "env" if variable in given else "default"
        yield Entry(variable, value_at(chosen, path), source)


def value_at(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values
