"""Do we compute what the model means? Asked once, after loading, by computing both.

Owns the survey of a model's attention layers and the comparison with the stock model. That makes
"any architecture" safe: one that differs is refused rather than served wrongly.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import torch
from torch import Tensor

from r3mes.engine.architecture import positions, windows
from r3mes.engine.attention import NAME, Heads
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.pool_size import LayerShape, Pool, make_pool
from r3mes.engine.runner import Row
from r3mes.engine.step import blocks_of
from r3mes.errors import StartError

STOCK = "eager"  # every architecture has it
LENGTHS = (45, 11)  # tokens of the two sequences that are probed side by side
Exactness = Literal["exact", "16 bits", "8 bits"]
# Part of the stock logits' spread by which ours may differ, and share of positions that may
# exceed it: in 16 bits a mixture of experts may choose others where two are nearly equal. What is
# computed wrongly differs by more than the spread itself.
BOUNDS: dict[Exactness, tuple[float, float]] = {
    "exact": (1e-3, 0.0),
    "16 bits": (5e-2, 0.15),
    "8 bits": (0.5, 0.15),
}


class Survey:
    """Implements `attention.Step`: notes what each layer keeps and answers zeros."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}
        self.heads: dict[int, Heads] = {}

    def attend(self, layer: int, heads: Heads) -> Tensor:
        if layer in self.shapes:
            raise StartError("several attention layers share one number")
        _, count, tokens, width = heads.key.shape
        self.shapes[layer] = LayerShape(
            count, width, heads.value.shape[-1], heads.window, heads.key.dtype
        )
        self.heads[layer] = heads
        return heads.query.new_zeros(1, tokens, heads.query.shape[1], heads.value.shape[-1])


@torch.inference_mode()
def survey(model: Any) -> Survey:
    """What each attention layer keeps; refuses one whose window is not the declared one."""
    notes = Survey()
    ids = torch.zeros(1, 2, dtype=torch.int64, device=model.device)
    places = torch.arange(2, device=model.device)[None]
    model(input_ids=ids, position_ids=places, use_cache=False, r3mes_step=notes)
    if not notes.shapes:
        raise StartError("the architecture's attention does not go through the registry")
    declared = windows(model.config, len(notes.shapes))
    for (layer, shape), window in zip(sorted(notes.shapes.items()), declared, strict=True):
        if shape.window != window:
            raise StartError(
                f"layer {layer} declares a window of {window} but attends with {shape.window}"
            )
    return notes


def probe_pool(shapes: Collection[LayerShape], block_size: int) -> Pool:
    """Room for the comparison alone."""
    blocks = sum(blocks_of(length, block_size) for length in LENGTHS)
    return make_pool(shapes, blocks, block_size=block_size, longest=max(LENGTHS), cpu=True)


@dataclass(frozen=True, slots=True)
class Probe:
    """Two sequences, and the stock model's logits of each of their positions."""

    sequences: list[list[int]]
    stock: list[Tensor]

    @classmethod
    @torch.inference_mode()
    def of(cls, model: Any, *, vocab_size: int) -> Self:
        dice = torch.Generator().manual_seed(0)
        most = positions(model.config)
        sequences = [
            torch.randint(vocab_size, (min(length, most),), generator=dice).tolist()
            for length in LENGTHS
        ]
        model.set_attn_implementation(STOCK)
        try:
            return cls(sequences, [_stock(model, ids) for ids in sequences])
        finally:
            model.set_attn_implementation(NAME)

    def compare(self, runner: ModelRunner, exactness: Exactness) -> None:
        """Run the sequences through the runner in parts, side by side. Raises StartError."""
        ours = through(runner, self.sequences)
        for mine, theirs in zip(ours, self.stock, strict=True):
            refuse_difference(mine, theirs, exactness)


def through(runner: ModelRunner, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """Logits of every position: of a first half, of the rest but one, and of that one decoded."""
    lines: list[list[Tensor]] = [[] for _ in sequences]
    cuts = [(0, len(ids) // 2, len(ids) - 1, len(ids)) for ids in sequences]
    for part in zip(*(pairwise(cut) for cut in cuts), strict=True):
        rows, taken = [], 0
        for ids, (begin, end) in zip(sequences, part, strict=True):
            count = blocks_of(len(ids), runner.forward.block_size)
            blocks = range(taken, taken + count)
            rows.append(Row(ids[begin:end], begin, blocks, None, prompt_logprobs=0))
            taken += count
        for place, logits in enumerate(runner.logits(rows)):
            lines[place].append(logits.clone())
    return [torch.cat(parts) for parts in lines]


def _stock(model: Any, ids: Sequence[int]) -> Tensor:
    asked = torch.tensor([ids], device=model.device)
    return model(input_ids=asked, use_cache=False).logits[0]  # type: ignore[no-any-return]


def refuse_difference(ours: Tensor, stock: Tensor, exactness: Exactness) -> None:
    """Compare position by position, against the spread of the stock logits there."""
    if not stock.isfinite().all():
        raise StartError("the model's output is not finite")
    if ours.shape != stock.shape:
        raise StartError("the architecture does not yield one line of logits for a position")
    stock = stock.float()
    spread = stock.std(dim=-1).clamp(min=1e-6)
    off = (ours.float() - stock).square().mean(dim=-1).sqrt() / spread
    bound, share = BOUNDS[exactness]
    wrong = ((off > bound) | off.isnan()).float().mean().item()
    if wrong > share:
        raise StartError(
            f"attention of this architecture is not reproduced: {wrong:.0%} of positions differ"
        )
