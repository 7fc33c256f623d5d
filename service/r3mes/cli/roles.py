"""The commands that run a role. A role is imported when its command runs, never before."""

import os
from collections.abc import Mapping
from typing import Any

import typer

from r3mes import settings
from r3mes.cli.flags import settings_flags
from r3mes.errors import StartError
from r3mes.replica import last_words


@settings_flags
def serve(overrides: Mapping[str, Any]) -> None:
    """Serve a model on this machine; a replica that dies is started again."""
    chosen = load(overrides)
    from r3mes.replica.serve import run_serve

    raise typer.Exit(run_serve(chosen))


@settings_flags
def replica(overrides: Mapping[str, Any]) -> None:
    """Serve one model and exit when its engine dies; the process of a container."""
    chosen = load(overrides)
    from r3mes.replica.supervisor import run_replica

    raise typer.Exit(run_replica(chosen))


def load(overrides: Mapping[str, Any]) -> settings.Settings:
    """The settings; that they are refused is a failed start like any other."""
    try:
        return settings.load(overrides)
    except StartError as error:
        last_words.leave(settings.termination_log(os.environ), error.message)
        raise
