"""How far a benchmark is: a bar on a terminal, plain lines elsewhere. Knows no benchmark."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

SETTLED_S = 60  # of the plan, after which this machine's own pace is known


class Bar:
    """Of a plan of so many seconds; parts may lie within parts."""

    def __init__(self, planned_s: float, *, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        # The bar shares the processors with what is measured, so it is drawn once a second.
        self._shown = Progress(
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            refresh_per_second=1,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._planned_s, self._done_s, self._began = planned_s, 0.0, time.monotonic()
        self._task = self._shown.add_task("", total=planned_s)

    def __enter__(self) -> "Bar":
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.stop()

    @contextmanager
    def part(self, words: str, planned_s: float) -> Iterator[None]:
        """Whatever happens within, the part's seconds of the plan are behind us afterwards."""
        after = self._done_s + planned_s
        minutes = left_s(self._planned_s, self._done_s, time.monotonic() - self._began) / 60
        line = f"{self._done_s / self._planned_s:.0%}, about {minutes:.0f} min left: {words}"
        self._shown.update(self._task, description=line)
        if not self._console.is_terminal:
            self.say(line)
        try:
            yield
        finally:
            self._done_s = after
            self._shown.update(self._task, completed=after)

    def say(self, line: str) -> None:
        """Above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def left_s(planned_s: float, done_s: float, spent_s: float) -> float:
    """What is left of the plan, at the pace of what is done."""
    pace = spent_s / done_s if done_s >= SETTLED_S else 1.0
    return (planned_s - done_s) * pace


def say(line: str) -> None:
    """To the terminal of whoever waits."""
    sys.stderr.write(f"{line}\n")
