"""What a run of the cases came to: skips that are no way out, and the figures they measured."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

MEASURED = "measured"


def refuse_skip(report: pytest.TestReport) -> None:
    """Where a cluster is required, what cannot be tried has failed."""
    if report.skipped:
        place = report.longrepr
        reason = place[2] if isinstance(place, tuple) else place
        report.outcome, report.longrepr = "failed", f"it has to run here. {reason}"


def figures(stats: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """A line for each, of cases that failed too."""
    for report in (*stats.get("passed", ()), *stats.get("failed", ())):
        if report.when == "call":
            case = report.nodeid.rpartition("/")[2]
            yield from (f"{case}: {it}" for name, it in report.user_properties if name == MEASURED)
