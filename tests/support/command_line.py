"""Runs `r3mes` as a user does: in a process of its own, with only the variables that are given."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SERVICE = Path(__file__).parents[2] / "service"
OWN_VARIABLES = ("R3MES_", "OPENAI_")


def r3mes(
    *arguments: str, variables: Mapping[str, str] | None = None, typed: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "r3mes", *arguments],
        env=clean_environment(variables or {}),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
    path = os.pathsep.join([str(SERVICE), os.environ.get("PYTHONPATH", "")])
    return {**inherited, "PYTHONPATH": path, "COLUMNS": "200", **variables}
