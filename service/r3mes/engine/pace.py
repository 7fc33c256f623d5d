"""How many prompt tokens a step may feed beside running streams: told in time, not in tokens.

A stream notices a neighbour's prompt as a longer gap between two of its tokens. So a step with a
prompt's chunk may take a few times as long as one without, as far as both were measured here: the
longer, the more prompts wait, since each of them waits for those before it. Pure arithmetic; knows
no clock.
"""

import math
from dataclasses import dataclass, field

SLOWER = 2.0  # a step with a chunk, in steps without one; to it comes,
EACH = 0.5  # for each prompt that waits for the chunk,
SLOWEST = 5.0  # but not more than this
LEAST = 16  # prompt tokens of a chunk: fewer would read all weights for next to nothing
NEWEST = 0.25  # weight of the newest measurement
ODD = 2.0  # a step that took longer than so many times what was expected counts as just that


@dataclass
class Pace:
    """`most` is what a step may feed when nobody waits for a token. While `learning`, in a warm-up,
    all may be as long."""

    most: int
    learning: bool = False
    _prompt_token: float = 0.0  # seconds that one more costs; 0 while unknown
    _steps: dict[int, float] = field(default_factory=dict)  # seconds, by the rows' power of two

    def record(self, *, seconds: float, rows: int, prompt: int) -> None:
        """A step that fed `prompt` prompt tokens beside `rows` streams."""
        if not prompt:
            size = rows.bit_length()
            self._steps[size] = _newer(self._steps.get(size), seconds)
        elif not rows:
            if prompt >= LEAST:
                self._prompt_token = _newer(self._prompt_token, seconds / prompt)
        elif self._steps and self._prompt_token:
            self._correct(seconds, self._nearest(rows), prompt)

    def _correct(self, seconds: float, size: int, prompt: int) -> None:
        """Both parts of what was expected, each by its share: when something else has the
        processor both take longer, and the chunk, which follows their ratio, must not collapse."""
        step, chunk = self._steps[size], self._prompt_token * prompt
        error = NEWEST * (min(ODD, seconds / (step + chunk)) - 1)
        self._steps[size] *= 1 + error * step / (step + chunk)
        self._prompt_token *= 1 + error * chunk / (step + chunk)

    def chunk(self, rows: int, prompts: int) -> int:
        """Prompt tokens of the next step, beside so many streams, of so many prompts that wait."""
        step = self._step(rows)
        if self.learning or not step or not self._prompt_token:
            return self.most
        slower = min(SLOWEST, SLOWER + EACH * prompts)
        room = (slower - 1) * step / self._prompt_token
        return max(LEAST, int(min(self.most, room)))

    def token_cost(self, rows: int) -> float:
        """Seconds that one more token adds to a step of so many streams; inf while unknown."""
        size = rows.bit_length()
        if size not in self._steps or size + 1 not in self._steps:
            return math.inf
        return max(0.0, self._steps[size + 1] - self._steps[size]) / rows

    def token_gain(self, rows: int) -> float:
        """Seconds that a token saves which came without a step of its own."""
        return (self._step(rows) or 0.0) / max(1, rows)

    def _step(self, rows: int) -> float | None:
        """Seconds of a step without a chunk: as measured with the nearest number of rows."""
        return self._steps[self._nearest(rows)] if rows and self._steps else None

    def _nearest(self, rows: int) -> int:
        return min(self._steps, key=lambda known: abs(known - rows.bit_length()))


def _newer(known: float | None, seen: float) -> float:
    return known + NEWEST * (min(seen, ODD * known) - known) if known else seen
