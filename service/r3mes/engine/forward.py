"""From rows to logits: the seam between the runner and whatever computes, and its plain form.

The plain form calls a stock module of `transformers`; who keeps keys and values, and attends over
them, is a step made anew for each call. `native.whole_step` is the other form.
"""

import inspect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from r3mes.engine.attention import Step
from r3mes.engine.runner import Row
from r3mes.engine.transfer import to_device

NOT_FINITE = -1
MakeStep = Callable[[Sequence[Row]], Step]


class Logits(NamedTuple):
    """`lines` [n, vocabulary], which the caller may change, and the most likely token of each as it
    was: `best` [n], NOT_FINITE for a line with a NaN or whose largest is infinite."""

    lines: Tensor
    best: Tensor

    @classmethod
    def of(cls, lines: Tensor) -> Self:
        best = lines.argmax(dim=-1)  # of a NaN too: it counts as the largest
        finite = lines.gather(1, best[:, None])[:, 0].isfinite()
        return cls(lines, torch.where(finite, best, NOT_FINITE))


class Forward(Protocol):
    """Owns the weights and the KV cache. `num_blocks` of that may be in block tables.

    `ahead` tells that `logits` does not wait for what it computes, and that rows may follow those
    of the batch launched before. It had better not read what lies past a row's last position: of a
    sequence that ends while its batch is in flight, blocks may have another owner before they are
    cleaned.
    """

    num_blocks: int
    block_size: int
    vocab_size: int
    device: torch.device
    ahead: bool

    def logits(self, rows: Sequence[Row], keep: Sequence[int], *, last: Tensor | None) -> Logits:
        """Of the kept places of the flat batch, which ascend; rows come as `step.order` has them.

        `last` [rows of the batch before] are the tokens that were chosen there, int64, on the
        device and in the order of `Batch.rows`; `row.follows` is an index of it. One that is
        NOT_FINITE may be fed as any token: what comes of it is dropped. None if no row follows.
        """
        ...

    def clean(self, blocks: Sequence[int]) -> None:
        """What is not finite in these blocks can harm nobody from now on."""
        ...


class Cache(Protocol):
    """What a step writes to and reads from."""

    num_blocks: int
    block_size: int

    def clean(self, blocks: Sequence[int]) -> None: ...


class StockModule:
    """A module of `transformers` whose attention is `attention.paged_attention`."""

    def __init__(self, module: Any) -> None:
        self.plain = module
        self._slices = "logits_to_keep" in inspect.signature(module.forward).parameters

    def logits(self, tokens: Tensor, positions: Tensor, step: Step, kept: Tensor | None) -> Logits:
        """Of the kept places of a flat batch [T], of all where None are told."""
        slices = self._slices and kept is not None
        output = self.plain(
            input_ids=tokens[None],
            position_ids=positions[None],
            use_cache=False,
            r3mes_step=step,
            **({"logits_to_keep": kept} if slices else {}),
        )
        whole = output.logits[0]
        return Logits.of(whole if slices or kept is None else whole[kept])


class StockForward:
    """Implements `Forward` by a stock module and a step made anew for each call."""

    def __init__(
        self, module: Any, cache: Cache, make_step: MakeStep, *, vocab_size: int, ahead: bool
    ) -> None:
        self.module, self.cache = StockModule(module), cache
        self.vocab_size, self.ahead = vocab_size, ahead
        self.num_blocks, self.block_size = cache.num_blocks, cache.block_size
        self.device: torch.device = module.device
        self._make_step = make_step

    def logits(self, rows: Sequence[Row], keep: Sequence[int], *, last: Tensor | None) -> Logits:
        positions = [at for row in rows for at in range(row.start, row.start + len(row.tokens))]
        return self.module.logits(
            self._tokens(rows, last),
            self._indices(positions),
            self._make_step(rows),
            self._indices(keep),
        )

    def clean(self, blocks: Sequence[int]) -> None:
        self.cache.clean(blocks)

    def _tokens(self, rows: Sequence[Row], last: Tensor | None) -> Tensor:
        """The flat batch; what a row follows is taken from where it was chosen."""
        tokens = self._indices([token for row in rows for token in row.tokens])
        if last is None:
            return tokens
        ends = accumulate(len(row.tokens) for row in rows)
        follows = {
            end - 1: row.follows
            for row, end in zip(rows, ends, strict=True)
            if row.follows is not None
        }
        chosen = last[self._indices(list(follows.values()))]
        return tokens.index_copy_(0, self._indices(list(follows)), chosen.clamp(min=0))

    def _indices(self, values: Sequence[int]) -> Tensor:
        return to_device(values, torch.int64, self.device)
