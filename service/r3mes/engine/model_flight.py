"""What a forward pass of a model brings: from chosen tokens to the results of rows.

Waits for the device, and does all that needs values: drafts are followed, broken rows told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice, takewhile

import torch
from torch import Tensor

from r3mes.engine.forward import NOT_FINITE
from r3mes.engine.logprobs import Measured
from r3mes.engine.messages import Logprob
from r3mes.engine.runner import Row, RowResult
from r3mes.engine.transfer import Mark

BROKEN = "the model's output for this sequence is not finite"
Clean = Callable[[Sequence[int]], None]
Chosen = tuple[int, Logprob | None]


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass, all of its tensors on the host once `end` has passed.

    `rows` are in the order of the flat batch and `tokens` [lines] are chosen of the lines of each.
    `told` is how many alternatives are wished to which of the lines, and `measured` the logprobs of
    those; `prompts` are the prompt logprobs of each row that wishes them.
    """

    rows: Sequence[Row]
    tokens: Tensor
    told: Mapping[int, int]
    measured: Measured | None
    prompts: Sequence[Measured | None]
    end: Mark

    def land(self, clean: Clean) -> list[RowResult]:
        self.end.wait()
        told = self.measured.entries(self.told.values()) if self.measured else []
        entries = dict(zip(self.told, told, strict=True))
        chosen = iter([(token, entries.get(i)) for i, token in enumerate(self.tokens.tolist())])
        return [
            _result(row, list(islice(chosen, lines(row))), prompt, clean)
            for row, prompt in zip(self.rows, self.prompts, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ModelFlight:
    """Implements `runner.Flight`. `late` is the pass with all rows, in the order of `places`;
    `early` are passes with parts of one of them."""

    early: Sequence[Sequence[Pass]]
    late: Pass
    places: Sequence[int]
    clean: Clean

    @torch.inference_mode()
    def land(self) -> list[RowResult]:
        late = dict(zip(self.places, self.late.land(self.clean), strict=True))
        return [
            reduce(_joined, [*(one.land(self.clean)[0] for one in parts), late[i]])
            for i, parts in enumerate(self.early)
        ]


def lines(row: Row) -> int:
    """Of logits that a row needs beside those of its prompt's logprobs."""
    return 1 + len(row.drafts)


def _result(row: Row, chosen: list[Chosen], prompt: Measured | None, clean: Clean) -> RowResult:
    """Follow the drafts as long as they are what was chosen."""
    accepted = sum(1 for _ in takewhile(_equal, zip(row.drafts, chosen, strict=False)))
    taken = chosen[: accepted + 1]
    if any(token == NOT_FINITE for token, _ in chosen):
        clean(row.blocks)
    if taken[-1][0] == NOT_FINITE:
        return RowResult(error=BROKEN)
    told = () if prompt is None else _prompt_logprobs(row, prompt)
    if row.sample is None:
        return RowResult(prompt_logprobs=told)
    entries = tuple(entry for _, entry in taken if entry is not None)
    return RowResult(tuple(token for token, _ in taken), entries, told)


def _equal(pair: tuple[int, Chosen]) -> bool:
    draft, (token, _) = pair
    return draft == token


def _prompt_logprobs(row: Row, measured: Measured) -> tuple[Logprob, ...]:
    return tuple(measured.entries([row.prompt_logprobs or 0] * len(row.targets)))


def _joined(early: RowResult, later: RowResult) -> RowResult:
    """One result of a row that ran in parts."""
    return replace(
        later,
        prompt_logprobs=early.prompt_logprobs + later.prompt_logprobs,
        error=early.error or later.error,
    )
