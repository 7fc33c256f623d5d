"""Drafts of what comes next, from what came before: the same words again (prompt lookup).

Where the newest ids have stood before in prompt or output, what followed them there may follow
now. A draft costs little to check where a step is bound by memory, and never changes an answer: it
counts only where the model itself chooses the same. Pure; knows no runner.

Saxena, "Prompt Lookup Decoding", 2023; checked as in Leviathan et al., "Fast Inference from
Transformers via Speculative Decoding", 2023, with the one token that a seed and a position allow.
"""

import itertools
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

LENGTH = 3  # ids that have to be the same: with two, chance finds too many
MOST = 8  # drafts at once
HOPED = 0.6  # share of drafts that come true, before any was checked
NEWEST, RECOVERS = 0.2, 0.02  # how fast that share follows what is seen, and comes back unused


@dataclass
class Lookup:
    """Of one sequence, whose ids only grow. `share` is the chance that a draft comes true."""

    share: float = HOPED
    _after: dict[tuple[int, ...], int] = field(default_factory=dict)
    _seen: int = LENGTH  # ids whose place is known

    def draft(self, ids: Seq[int], most: int) -> list[int]:
        """What may follow `ids`, at most so many."""
        for end in range(self._seen, len(ids)):
            self._after[tuple(ids[end - LENGTH : end])] = end
        self._seen = max(self._seen, len(ids))
        found = self._after.get(tuple(ids[-LENGTH:]))
        if found is None:
            return []
        again = itertools.cycle(ids[found:])  # what goes round may go on
        return list(itertools.islice(again, most))

    def record(self, *, drafted: int, accepted: int) -> None:
        """How many of the last drafts came true; none drafted lets a bad share recover."""
        if drafted:
            self.share += NEWEST * (accepted / drafted - self.share)
        else:
            self.share += RECOVERS * max(0.0, HOPED - self.share)


def worth(share: float, *, token_cost: float, token_gain: float) -> int:
    """How many drafts pay: each next one has to be worth the seconds it adds to the step.

    The k-th saves `token_gain` seconds only if it and all before it come true.
    """
    count, chance = 0, share
    while count < MOST and chance * token_gain > token_cost:
        count, chance = count + 1, chance * share
    return count
