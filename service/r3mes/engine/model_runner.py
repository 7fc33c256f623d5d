"""The runner of a model: from rows to results, whatever computes the logits between.

Knows nothing of how rows were chosen, of loading or of text.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, takewhile

import torch
from torch import Tensor

from r3mes.engine.forward import NOT_FINITE, Forward, Logits
from r3mes.engine.logprobs import logprobs
from r3mes.engine.messages import Logprob
from r3mes.engine.runner import Batch, Flight, Landed, Row, RowResult, Sample
from r3mes.engine.sampler import sample
from r3mes.engine.step import order

LOGITS_BYTES = 256 << 20  # most memory that the logits of one forward pass may take
BROKEN = "the model's output for this sequence is not finite"


class ModelRunner:
    """Implements `runner.Runner`. One step is one forward pass, whatever its rows.

    Every row's last position yields logits, sampled or not: that is how a row whose numbers are
    no longer finite is found, and its blocks cleaned, before another row can take them.
    """

    def __init__(self, forward: Forward, *, eos: Sequence[int]) -> None:
        self.forward, self.eos = forward, tuple(eos)
        self.vocab_size, self.num_blocks = forward.vocab_size, forward.num_blocks
        self.ahead = forward.ahead

    @torch.inference_mode()
    def launch(self, batch: Batch) -> Flight:
        """One forward pass; more only where a row wants logits of more positions than fit."""
        early, rows = zip(*(self._run_ahead(row) for row in batch.rows), strict=True)
        places = order(rows)
        late = dict(zip(places, self._forward([rows[i] for i in places]), strict=True))
        return Landed([_joined(part, late[i]) for i, part in enumerate(early)])

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """For each row its lines of logits: of all positions if it wants prompt logprobs."""
        places = order(rows)
        logits, ends = self._compute([rows[i] for i in places])
        parts = dict(zip(places, logits.lines.tensor_split(ends[:-1]), strict=True))
        return [parts[i] for i in range(len(rows))]

    def _run_ahead(self, row: Row) -> tuple[RowResult, Row]:
        """Bound the memory of prompt logprobs: run a long row's first parts, return its last."""
        done = RowResult()
        most = max(1, LOGITS_BYTES // (4 * self.vocab_size))
        while row.prompt_logprobs is not None and len(row.tokens) > most:
            done = _joined(done, self._forward([_part(row, 0, most)])[0])
            row = _part(row, most, len(row.tokens))
        return done, row

    def _compute(self, rows: Sequence[Row]) -> tuple[Logits, list[int]]:
        """Lines of logits of the wanted positions, and where each row's lines end."""
        keep: list[int] = []
        ends = []
        end = 0
        for row in rows:
            begin, end = end, end + len(row.tokens)
            keep.extend(range(begin if row.prompt_logprobs is not None else end - lines(row), end))
            ends.append(len(keep))
        return self.forward.logits(rows, keep, last=None), ends

    def _forward(self, rows: Sequence[Row]) -> list[RowResult]:
        """Results of rows that are in the order of the flat batch."""
        (all_lines, all_best), ends = self._compute(rows)
        prompts = _prompts(rows, all_lines, ends)
        counts = [lines(row) for row in rows]
        if len(all_lines) > sum(counts):
            pairs = zip(ends, counts, strict=True)
            last = self._indices([at for end, n in pairs for at in range(end - n, end)])
            all_lines, all_best = all_lines[last], all_best[last]
        wishes = [row.sample and row.sample.after(i) for row in rows for i in range(lines(row))]
        chosen = iter(self._choose(all_lines.float(), all_best, wishes))
        return [
            self._result(row, list(islice(chosen, count)), prompt)
            for row, count, prompt in zip(rows, counts, prompts, strict=True)
        ]

    def _result(
        self, row: Row, chosen: list[tuple[int, Logprob | None]], prompt: tuple[Logprob, ...]
    ) -> RowResult:
        """Follow the drafts as long as they are what was chosen."""
        drafts = row.sample.drafts if row.sample else ()
        accepted = sum(1 for _ in takewhile(_equal, zip(drafts, chosen, strict=False)))
        taken = chosen[: accepted + 1]
        if any(token == NOT_FINITE for token, _ in chosen):
            self.forward.clean(row.blocks)
        if taken[-1][0] == NOT_FINITE:
            return RowResult(error=BROKEN)
        if row.sample is None:
            return RowResult(prompt_logprobs=prompt)
        entries = tuple(entry for _, entry in taken if entry is not None)
        return RowResult(tuple(token for token, _ in taken), entries, prompt)

    def _choose(
        self, logits: Tensor, best: Tensor, wishes: Sequence[Sample | None]
    ) -> list[tuple[int, Logprob | None]]:
        """A token for each line, and its logprob where that is wished."""
        told = {
            i: wish.params.logprobs
            for i, wish in enumerate(wishes)
            if wish is not None and wish.params.logprobs is not None
        }
        raw = logits[self._indices(list(told))]  # a copy, before the processors change it
        tokens = sample(logits, best, wishes, self.eos)
        ids = tokens.tolist()
        entries: dict[int, Logprob] = {}
        for line, (i, alternatives) in zip(raw, told.items(), strict=True):
            if ids[i] != NOT_FINITE:
                entries[i] = logprobs(line[None], tokens[i : i + 1], alternatives)[0]
        return [(token, entries.get(i)) for i, token in enumerate(ids)]

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.forward.device)


def lines(row: Row) -> int:
    """Of logits that a row needs beside those of its prompt's logprobs."""
    return 1 + (len(row.sample.drafts) if row.sample else 0)


def _equal(pair: tuple[int, tuple[int, Logprob | None]]) -> bool:
    draft, (token, _) = pair
    return draft == token


def _prompts(rows: Sequence[Row], logits: Tensor, ends: Sequence[int]) -> list[tuple[Logprob, ...]]:
    """The prompt logprobs of each row."""
    begins = [0, *ends[:-1]]
    return [
        _prompt_logprobs(row, logits[begin:end]) if row.prompt_logprobs is not None else ()
        for row, begin, end in zip(rows, begins, ends, strict=True)
    ]


def _prompt_logprobs(row: Row, logits: Tensor) -> tuple[Logprob, ...]:
    if row.prompt_logprobs is None or not row.targets:
        return ()
    targets = torch.tensor(row.targets, dtype=torch.int64, device=logits.device)
    return tuple(logprobs(logits[: len(targets)], targets, row.prompt_logprobs))


def _joined(early: RowResult, later: RowResult) -> RowResult:
    """One result of a row that ran in parts."""
    return replace(
        later,
        prompt_logprobs=early.prompt_logprobs + later.prompt_logprobs,
        error=early.error or later.error,
    )


def _part(row: Row, begin: int, end: int) -> Row:
    """Tokens begin..end of a row; only the part with its last token samples."""
    return replace(
        row,
        tokens=row.tokens[begin:end],
        start=row.start + begin,
        sample=row.sample if end == len(row.tokens) else None,
        targets=row.targets[begin:end],
    )
