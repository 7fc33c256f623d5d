"""Log-probabilities of the model's own distribution, before any penalty or temperature.

Knows nothing of rows or models. Works on a few lines at a time, without a second copy of them.
"""

import torch
from torch import Tensor

from r3mes.engine.messages import Logprob

FLOOR = -9999.0


def logprobs(logits: Tensor, chosen: Tensor, alternatives: int) -> list[Logprob]:
    """One entry for each line of `logits` [lines, vocabulary]."""
    picked = logits.gather(1, chosen[:, None])
    total = logits.float().logsumexp(dim=-1, keepdim=True)
    rank = (logits > picked).sum(dim=-1) + 1
    best = logits.topk(min(alternatives, logits.shape[1]), dim=-1)
    values = _floored(picked - total)[:, 0].tolist()
    tops = zip(best.indices.tolist(), _floored(best.values - total).tolist(), strict=True)
    lines = zip(chosen.tolist(), values, rank.tolist(), tops, strict=True)
    return [
        Logprob(token, value, place, list(zip(ids, scores, strict=True)))
        for token, value, place, (ids, scores) in lines
    ]


def _floored(values: Tensor) -> Tensor:
    return torch.clamp(values, min=FLOOR)
