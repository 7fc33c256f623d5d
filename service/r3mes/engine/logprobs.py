"""Log-probabilities of the model's own distribution, before any penalty or temperature.

Knows nothing of rows or models. Works on a few lines at a time, without a second copy of them.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from r3mes.engine.messages import Logprob
from r3mes.engine.transfer import to_host

FLOOR = -9999.0


class Measured(NamedTuple):
    """Of some lines: the chosen tokens, their values and ranks [lines], and the most likely tokens
    with theirs [lines, alternatives]."""

    chosen: Tensor
    values: Tensor
    ranks: Tensor
    best: Tensor
    scores: Tensor

    @classmethod
    def of(cls, logits: Tensor, chosen: Tensor, alternatives: int) -> Self:
        """Of `logits` [lines, vocabulary], where they are; a token below 0 is measured as 0."""
        picked = logits.gather(1, chosen.clamp(min=0)[:, None])
        total = logits.float().logsumexp(dim=-1, keepdim=True)
        ranks = (logits > picked).sum(dim=-1) + 1
        best = logits.topk(min(alternatives, logits.shape[1]), dim=-1)
        values = _floored(picked - total)[:, 0]
        return cls(chosen, values, ranks, best.indices, _floored(best.values - total))

    def to_host(self) -> Self:
        return type(self)(*map(to_host, self))

    def entries(self, alternatives: Iterable[int]) -> list[Logprob]:
        """One for each line, with so many alternatives of those that there are."""
        lines = zip(*(part.tolist() for part in self), alternatives, strict=True)
        return [
            Logprob(token, value, rank, list(zip(best[:most], scores[:most], strict=True)))
            for token, value, rank, best, scores, most in lines
        ]


def _floored(values: Tensor) -> Tensor:
    return torch.clamp(values, min=FLOOR)
