"""A stock module on a CUDA device, its attention by our kernels, its decode batches as graphs.

Owns the order of a step: fill the sheet, run or replay, hand out what the rows asked for. Nothing
here waits for the device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r3mes.engine.attention import Heads
from r3mes.engine.cuda.cache import DeviceCache
from r3mes.engine.cuda.geometry import buckets, most_tiles, split_steps, with_tiles
from r3mes.engine.cuda.graphs import DecodeGraphs, Record, Run
from r3mes.engine.cuda.sheet import BLANK, Plan, Sheet
from r3mes.engine.cuda.step import Attention, DeviceStep
from r3mes.engine.forward import Logits, StockModule
from r3mes.engine.runner import Row


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest batch: `tokens` in `rows`, each of at most `longest` positions; and how many
    programs the device runs at once."""

    tokens: int
    rows: int
    longest: int
    programs: int


class CudaForward:
    """Implements `forward.Forward`."""

    ahead = True

    @torch.inference_mode()
    def __init__(
        self,
        module: Any,
        layers: Mapping[int, Heads],
        cache: DeviceCache,
        limits: Limits,
        *,
        vocab_size: int,
        record: Record,
    ) -> None:
        """Compiles every kernel that a batch within the limits can need, and records the graphs."""
        self.module, self.cache, self.vocab_size = StockModule(module), cache, vocab_size
        self.num_blocks, self.block_size = cache.num_blocks, cache.block_size
        self.device: torch.device = cache.device
        rows = min(limits.rows, cache.num_blocks)  # every row has a block of its own
        self._last = torch.zeros(limits.rows, dtype=torch.int64, device=self.device)
        self._sheet = Sheet(
            tokens=limits.tokens,
            rows=rows,
            table=rows * min(cache.num_blocks, -(-limits.longest // cache.block_size)),
            block_size=cache.block_size,
            device=self.device,
        )
        self._attention = Attention(
            layers, cache, self._sheet, programs=limits.programs, longest=limits.longest
        )
        self._result: Logits | None = None  # of every size: what a graph returns it holds for ever
        self._compile(limits)
        self.graphs = DecodeGraphs(buckets(rows), self._decode, record)

    def logits(self, rows: Sequence[Row], keep: Sequence[int], *, last: Tensor | None) -> Logits:
        """The lines are valid until the next call."""
        if last is not None:
            self._last[: len(last)].copy_(last)
        if any(len(row.tokens) > 1 for row in rows):
            return self._run(self._write(rows, keep))
        size = self.graphs.bucket(len(rows))
        self._write([*rows, *[BLANK] * (size - len(rows))], range(size))
        lines, best = self.graphs.replay(size)
        return Logits(lines[: len(rows)], best[: len(rows)].clone())

    def clean(self, blocks: Sequence[int]) -> None:
        self.cache.clean(blocks)

    def _write(self, rows: Sequence[Row], keep: Sequence[int]) -> Plan:
        return self._sheet.write(rows, keep, tile=self._attention.tile)

    def _decode(self, size: int) -> Run:
        """What replays have to do. The plan of a full batch is that of every one of its size."""
        plan = self._write([BLANK] * size, range(size))

        def run() -> Logits:
            found = self._run(plan)
            if self._result is None:  # by the largest, which runs first
                self._result = Logits(*map(torch.empty_like, found))
            return Logits(
                *(to[:size].copy_(it) for to, it in zip(self._result, found, strict=True))
            )

        return run

    def _compile(self, limits: Limits) -> None:
        """Run blank rows in numbers of tiles between which all numbers of splits lie."""
        tile, tokens = self._attention.tile, limits.tokens
        heads = min(layer.shape.heads for layer in self._attention.layers.values())
        most = most_tiles(tokens=tokens, rows=self._sheet.rows, tile=tile)
        for tiles in split_steps(heads, programs=limits.programs, most=most):
            counts = with_tiles(tiles, tokens=tokens, tile=tile)
            blanks = [Row((0,) * count, -count, (), None) for count in counts]
            self._run(self._write(blanks, [0]))

    def _run(self, plan: Plan) -> Logits:
        numbers = self._sheet.device.parts
        return self.module.logits(
            self._ids(plan.tokens),
            numbers["positions"][: plan.tokens].long(),
            DeviceStep(self._attention, plan),
            numbers["kept"][: plan.kept] if plan.kept < plan.tokens else None,
        )

    def _ids(self, count: int) -> Tensor:
        """Of the fed tokens; those that follow are taken from what was chosen before.

        What was not finite there is no token: its row will be told that it failed, and until then
        is fed another one.
        """
        numbers = self._sheet.device.parts
        follows = numbers["follows"][:count]
        chosen = self._last.index_select(0, follows.clamp(min=0)).clamp(min=0)
        return torch.where(follows < 0, numbers["tokens"][:count].long(), chosen)
