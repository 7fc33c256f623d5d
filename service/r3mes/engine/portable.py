"""The runner for any architecture: stock `transformers` modules, our attention and KV store.

Owns one forward pass from rows to results. Knows nothing of how rows were chosen, of loading or
of text.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from r3mes.engine.kv_store import KVStore
from r3mes.engine.logprobs import logprobs
from r3mes.engine.messages import Logprob
from r3mes.engine.runner import Batch, Row, RowResult
from r3mes.engine.sampler import sample
from r3mes.engine.step import PagedStep, order

LOGITS_BYTES = 256 << 20  # most memory that the logits of one forward pass may take
NOT_FINITE = "the model's output for this sequence is not finite"


class PortableRunner:
    """Implements `runner.Runner`. One step is one call of the model, whatever its rows.

    Every row's last position yields logits, sampled or not: that is how a row whose numbers are
    no longer finite is found, and its blocks cleaned, before another row can take them.
    """

    def __init__(
        self,
        model: Any,
        store: KVStore,
        *,
        vocab_size: int,
        eos: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self.model, self.store, self.eos = model, store, tuple(eos)
        self.vocab_size, self.num_blocks = vocab_size, store.num_blocks
        self.dtype, self.device = dtype, store.device
        accepted = inspect.signature(model.forward).parameters
        self._model_slices = "logits_to_keep" in accepted

    @torch.inference_mode()
    def run(self, batch: Batch) -> list[RowResult]:
        """One forward pass; more only where a row wants logits of more positions than fit."""
        ahead, last = zip(*(self._run_ahead(row) for row in batch.rows), strict=True)
        return [_joined(*parts) for parts in zip(ahead, self._forward(last), strict=True)]

    def _run_ahead(self, row: Row) -> tuple[RowResult, Row]:
        """Bound the memory of prompt logprobs: run a long row's first parts, return its last."""
        done = RowResult()
        most = max(1, LOGITS_BYTES // (4 * self.vocab_size))
        while row.prompt_logprobs is not None and len(row.tokens) > most:
            done = _joined(done, self._forward([_part(row, 0, most)])[0])
            row = _part(row, most, len(row.tokens))
        return done, row

    def _forward(self, rows: Sequence[Row]) -> list[RowResult]:
        logits, spans = self._compute(rows)
        return self._answer(rows, logits, spans)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """For each row its lines of logits: of all positions if it wants prompt logprobs."""
        logits, spans = self._compute(rows)
        return [logits[span] for span in spans]

    def _compute(self, rows: Sequence[Row]) -> tuple[Tensor, list[slice]]:
        """Logits of the wanted positions, and for each row where its lines are."""
        places = order(rows)
        ordered = [rows[i] for i in places]
        tokens: list[int] = []
        positions: list[int] = []
        keep: list[int] = []
        spans = {}
        for place, row in zip(places, ordered, strict=True):
            end = len(tokens) + len(row.tokens)
            wanted = range(len(tokens) if row.prompt_logprobs is not None else end - 1, end)
            spans[place] = slice(len(keep), len(keep) + len(wanted))
            keep.extend(wanted)
            tokens.extend(row.tokens)
            positions.extend(range(row.start, row.start + len(row.tokens)))
        kept = self._indices(keep)
        output = self.model(
            input_ids=self._indices(tokens)[None],
            position_ids=self._indices(positions)[None],
            use_cache=False,
            r3mes_step=PagedStep(ordered, self.store, self.dtype),
            **({"logits_to_keep": kept} if self._model_slices else {}),
        )
        logits = output.logits[0] if self._model_slices else output.logits[0, kept]
        return logits, [spans[i] for i in range(len(rows))]

    def _answer(
        self, rows: Sequence[Row], logits: Tensor, spans: Sequence[slice]
    ) -> list[RowResult]:
        prompt = [
            _prompt_logprobs(row, logits[span]) for row, span in zip(rows, spans, strict=True)
        ]
        last = logits[self._indices([span.stop - 1 for span in spans])].float()
        finite = last.amax(dim=-1).isfinite().tolist()
        sampled = [i for i, row in enumerate(rows) if row.sample is not None and finite[i]]
        chosen = self._sample([rows[i] for i in sampled], last[self._indices(sampled)])
        picks = dict(zip(sampled, chosen, strict=True))
        for row in (row for row, good in zip(rows, finite, strict=True) if not good):
            self.store.clean(self._indices(row.blocks))
        results = []
        for i, good in enumerate(finite):
            token, entry = picks.get(i, (None, None))
            good_one = RowResult(token, entry, prompt[i])
            results.append(good_one if good else RowResult(error=NOT_FINITE))
        return results

    def _sample(self, rows: Sequence[Row], logits: Tensor) -> list[tuple[int, Logprob | None]]:
        wishes = [row.sample for row in rows if row.sample is not None]
        if not wishes:
            return []
        told = {i: w.params.logprobs for i, w in enumerate(wishes) if w.params.logprobs is not None}
        raw = logits[self._indices(list(told))]  # a copy, before the processors change it
        tokens = sample(logits, wishes, self.eos)
        entries: dict[int, Logprob] = {}
        for place, (i, alternatives) in enumerate(told.items()):
            entries[i] = logprobs(raw[place : place + 1], tokens[i : i + 1], alternatives)[0]
        return [(token, entries.get(i)) for i, token in enumerate(tokens.tolist())]

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


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
