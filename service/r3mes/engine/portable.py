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
from r3mes.engine.runner import Batch, Row, RowResult, Sample
from r3mes.engine.sampler import NOT_FINITE, sample
from r3mes.engine.step import PagedStep, order

LOGITS_BYTES = 256 << 20  # most memory that the logits of one forward pass may take
BROKEN = "the model's output for this sequence is not finite"


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
        early, rows = zip(*(self._run_ahead(row) for row in batch.rows), strict=True)
        places = order(rows)
        late = dict(zip(places, self._forward([rows[i] for i in places]), strict=True))
        return [_joined(part, late[i]) for i, part in enumerate(early)]

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """For each row its lines of logits: of all positions if it wants prompt logprobs."""
        places = order(rows)
        logits, ends = self._compute([rows[i] for i in places])
        parts = dict(zip(places, logits.tensor_split(ends[:-1]), strict=True))
        return [parts[i] for i in range(len(rows))]

    def _run_ahead(self, row: Row) -> tuple[RowResult, Row]:
        """Bound the memory of prompt logprobs: run a long row's first parts, return its last."""
        done = RowResult()
        most = max(1, LOGITS_BYTES // (4 * self.vocab_size))
        while row.prompt_logprobs is not None and len(row.tokens) > most:
            done = _joined(done, self._forward([_part(row, 0, most)])[0])
            row = _part(row, most, len(row.tokens))
        return done, row

    def _compute(self, rows: Sequence[Row]) -> tuple[Tensor, list[int]]:
        """Lines of logits of the wanted positions, and where each row's lines end."""
        tokens: list[int] = []
        positions: list[int] = []
        keep: list[int] = []
        ends = []
        for row in rows:
            end = len(tokens) + len(row.tokens)
            keep.extend(range(len(tokens) if row.prompt_logprobs is not None else end - 1, end))
            ends.append(len(keep))
            tokens.extend(row.tokens)
            positions.extend(range(row.start, row.start + len(row.tokens)))
        kept = self._indices(keep)
        output = self.model(
            input_ids=self._indices(tokens)[None],
            position_ids=self._indices(positions)[None],
            use_cache=False,
            r3mes_step=PagedStep(rows, self.store, self.dtype),
            **({"logits_to_keep": kept} if self._model_slices else {}),
        )
        return output.logits[0] if self._model_slices else output.logits[0, kept], ends

    def _forward(self, rows: Sequence[Row]) -> list[RowResult]:
        """Results of rows that are in the order of the flat batch."""
        logits, ends = self._compute(rows)
        parts = logits.tensor_split(ends[:-1])
        prompts = [_prompt_logprobs(row, part) for row, part in zip(rows, parts, strict=True)]
        if len(logits) > len(rows):
            logits = logits[self._indices([end - 1 for end in ends])]
        chosen = self._choose(logits.float(), [row.sample for row in rows])
        results = []
        for row, prompt, (token, entry) in zip(rows, prompts, chosen, strict=True):
            if token == NOT_FINITE:
                self.store.clean(self._indices(row.blocks))
                results.append(RowResult(error=BROKEN))
            else:
                results.append(RowResult(None if row.sample is None else token, entry, prompt))
        return results

    def _choose(
        self, logits: Tensor, wishes: Sequence[Sample | None]
    ) -> list[tuple[int, Logprob | None]]:
        """A token for each line, and its logprob where that is wished."""
        told = {
            i: wish.params.logprobs
            for i, wish in enumerate(wishes)
            if wish is not None and wish.params.logprobs is not None
        }
        raw = logits[self._indices(list(told))]  # a copy, before the processors change it
        tokens = sample(logits, wishes, self.eos)
        ids = tokens.tolist()
        entries: dict[int, Logprob] = {}
        for line, (i, alternatives) in zip(raw, told.items(), strict=True):
            if ids[i] != NOT_FINITE:
                entries[i] = logprobs(line[None], tokens[i : i + 1], alternatives)[0]
        return [(token, entries.get(i)) for i, token in enumerate(ids)]

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
