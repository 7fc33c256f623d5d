"""A check-up as the terminal shows it: what is waited for, then one line for each check."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r3mes.cli.examination import Examination
from r3mes.cli.server import connect
from r3mes.errors import CallFailed

LOG_WIDTH = 140  # of a line where there is no terminal, as in the log of a pod


@dataclass(frozen=True)
class Finding:
    check: str
    passed: bool
    seconds: float
    words: str


def examine_and_report(url: str, *, model: str | None, api_key: str | None, wait_s: float) -> None:
    """Print what was found; ends with status 1 when a check failed."""
    with connect(url, api_key=api_key) as client:
        examination = Examination(client, model=model)
        findings = [finding("ready", lambda: examination.ready(wait_s, on_wait=typer.echo))]
        if findings[0].passed:
            findings += [
                finding("chat", examination.chat),
                finding("stream", examination.stream),
                finding("trace header", examination.trace_header),
                finding("metrics", examination.metrics),
            ]
    shown = Console()
    if not shown.is_terminal:
        shown.width = LOG_WIDTH
    shown.print(table(findings, url=url))
    if not all(each.passed for each in findings):
        raise typer.Exit(1)


def finding(check: str, examine: Callable[[], str]) -> Finding:
    started = time.monotonic()
    try:
        passed, words = True, examine()
    except CallFailed as failure:
        passed, words = False, failure.message
    return Finding(check, passed, time.monotonic() - started, words)


def table(findings: list[Finding], *, url: str) -> Table:
    made = Table("check", "result", title=f"Check-up of {url}", title_justify="left", box=None)
    made.add_column("seconds", justify="right")
    made.add_column("what was seen", overflow="fold")
    for each in findings:
        result = "passed" if each.passed else "FAILED"
        made.add_row(each.check, result, f"{each.seconds:.2f}", Text(each.words))
    return made
