"""The runner of a model: from rows to results, whatever computes the logits between.

Knows nothing of how rows were chosen, of loading or of text. A launch asks no tensor for a value,
so that it never waits for the device; what needs values is done when the flight lands.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from r3mes.engine.forward import Forward, Logits
from r3mes.engine.logprobs import Measured
from r3mes.engine.model_flight import ModelFlight, Pass, lines
from r3mes.engine.runner import Batch, Flight, Row, Sample
from r3mes.engine.sampler import sample
from r3mes.engine.step import order
from r3mes.engine.transfer import Mark, to_device, to_host

LOGITS_BYTES = 256 << 20  # most memory that the logits of one forward pass may take


class ModelRunner:
    """Implements `runner.Runner`. One step is one forward pass, whatever its rows.

    Every row's last position yields logits, sampled or not: that is how a row whose numbers are
    no longer finite is found, and its blocks cleaned, before another row can take them.
    """

    def __init__(self, forward: Forward, *, eos: Sequence[int]) -> None:
        self.forward, self.eos = forward, tuple(eos)
        self.vocab_size, self.num_blocks = forward.vocab_size, forward.num_blocks
        self.ahead = forward.ahead
        self._last: Tensor | None = None  # tokens of the batch launched before, by its rows

    @torch.inference_mode()
    def launch(self, batch: Batch) -> Flight:
        """One forward pass; more only where a row wants logits of more positions than fit."""
        last, self._last = self._last, None
        early, rows = zip(*(self._launch_early(row) for row in batch.rows), strict=True)
        places = order(rows)
        late, tokens = self._launch([rows[i] for i in places], last)
        if self.ahead:
            self._last = tokens[self._indices(sorted(range(len(places)), key=places.__getitem__))]
        return ModelFlight(early, late, places, self.forward.clean)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """For each row its lines of logits: of all positions if it wants prompt logprobs."""
        places = order(rows)
        logits, ends = self._compute([rows[i] for i in places], None)
        parts = dict(zip(places, logits.lines.tensor_split(ends[:-1]), strict=True))
        return [parts[i] for i in range(len(rows))]

    def _launch_early(self, row: Row) -> tuple[list[Pass], Row]:
        """Bound the memory of prompt logprobs: launch a long row's first parts, return its last."""
        parts = []
        most = max(1, LOGITS_BYTES // (4 * self.vocab_size))
        while row.prompt_logprobs is not None and len(row.tokens) > most:
            parts.append(self._launch([_part(row, 0, most)], None)[0])
            row = _part(row, most, len(row.tokens))
        return parts, row

    def _compute(self, rows: Sequence[Row], last: Tensor | None) -> tuple[Logits, list[int]]:
        """Lines of logits of the wanted positions, and where each row's lines end."""
        keep: list[int] = []
        ends = []
        end = 0
        for row in rows:
            begin, end = end, end + len(row.tokens)
            keep.extend(range(begin if row.prompt_logprobs is not None else end - lines(row), end))
            ends.append(len(keep))
        return self.forward.logits(rows, keep, last=last), ends

    def _launch(self, rows: Sequence[Row], last: Tensor | None) -> tuple[Pass, Tensor]:
        """A pass of rows in the order of the flat batch, and the tokens of its lines."""
        (all_lines, all_best), ends = self._compute(rows, last)
        prompts = self._measure_prompts(rows, all_lines, ends)
        counts = [lines(row) for row in rows]
        if len(all_lines) > sum(counts):
            pairs = zip(ends, counts, strict=True)
            wanted = self._indices([at for end, n in pairs for at in range(end - n, end)])
            all_lines, all_best = all_lines[wanted], all_best[wanted]
        wishes = [row.sample and row.sample.after(i) for row in rows for i in range(lines(row))]
        told = _told(wishes)
        tokens, measured = self._choose(all_lines.float(), all_best, wishes, told)
        host = to_host(tokens)
        return Pass(rows, host, told, measured, prompts, Mark(self.forward.device)), tokens

    def _choose(
        self,
        logits: Tensor,
        best: Tensor,
        wishes: Sequence[Sample | None],
        told: dict[int, int],
    ) -> tuple[Tensor, Measured | None]:
        """A token for each line, and the logprobs of those lines where they are wished."""
        if not told:
            return sample(logits, best, wishes, self.eos), None
        wanted = self._indices(list(told))
        raw = logits[wanted]  # a copy, before the processors change it
        tokens = sample(logits, best, wishes, self.eos)
        return tokens, Measured.of(raw, tokens[wanted], max(told.values())).to_host()

    def _measure_prompts(
        self, rows: Sequence[Row], logits: Tensor, ends: Sequence[int]
    ) -> list[Measured | None]:
        """The prompt logprobs of each row."""
        begins = [0, *ends[:-1]]
        return [
            self._measure_prompt(row, logits[begin:end])
            for row, begin, end in zip(rows, begins, ends, strict=True)
        ]

    def _measure_prompt(self, row: Row, logits: Tensor) -> Measured | None:
        if row.prompt_logprobs is None or not row.targets:
            return None
        targets = self._indices(row.targets)
        return Measured.of(logits[: len(targets)], targets, row.prompt_logprobs).to_host()

    def _indices(self, values: Sequence[int]) -> Tensor:
        return to_device(values, torch.int64, self.forward.device)


def _told(wishes: Sequence[Sample | None]) -> dict[int, int]:
    """How many alternatives are wished, by line."""
    return {
        i: wish.params.logprobs
        for i, wish in enumerate(wishes)
        if wish is not None and wish.params.logprobs is not None
    }


def _part(row: Row, begin: int, end: int) -> Row:
    """Tokens begin..end of a row; only the part with its last token samples."""
    return replace(
        row,
        tokens=row.tokens[begin:end],
        start=row.start + begin,
        sample=row.sample if end == len(row.tokens) else None,
        targets=row.targets[begin:end],
    )
