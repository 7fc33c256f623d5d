"""The commands that run a role. A role is imported when its command runs, never before."""

from collections.abc import Mapping
from typing import Any

import typer

from r3mes import settings
from r3mes.cli.flags import settings_flags


@settings_flags
def serve(overrides: Mapping[str, Any]) -> None:
    """Serve a model on this machine; a replica that dies is started again."""
    chosen = settings.load(overrides)
    from r3mes.replica.serve import run_serve

    raise typer.Exit(run_serve(chosen))


@settings_flags
def replica(overrides: Mapping[str, Any]) -> None:
    """Serve one model and exit when its engine dies; the process of a container."""
    chosen = settings.load(overrides)
    from r3mes.replica.supervisor import run_replica

    raise typer.Exit(run_replica(chosen))
