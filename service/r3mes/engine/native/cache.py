"""The KV cache in the layout of the operators (`attention.h`).

What lies in a block past its owner's last token is never used, so blocks need no cleaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import torch

from r3mes.engine.attention import Heads
from r3mes.engine.native.library import STRIPE, WIDEST_HEAD, Attention, Cache, Memory
from r3mes.engine.pool_size import LayerShape, Pool

# A part of the cache is taken from the system when it is made, blocks that are handed out first:
# what most loads need is then there, and an idle server does not hold what it may never use.
TAKEN = 4


def refusal(shapes: Mapping[int, LayerShape], block_size: int) -> str:
    """Why the operators cannot keep such a cache; empty where they can."""
    if block_size % STRIPE:
        return f"block_size is {block_size}, no multiple of {STRIPE}"
    for shape in shapes.values():
        widths = (shape.key_width, shape.value_width)
        if any(width % STRIPE or width > WIDEST_HEAD for width in widths):
            return f"heads are {max(widths)} wide"
    return ""


def stored(shapes: Mapping[int, LayerShape], dtype: torch.dtype) -> dict[int, LayerShape]:
    """The same layers with keys and values of another type."""
    return {layer: replace(shape, dtype=dtype) for layer, shape in shapes.items()}


class NativeCache:
    """All layers of a block lie together, so that memory is touched for the first time block by
    block: kept layer by layer, all of them would come to a fresh huge page in the same step."""

    def __init__(self, shapes: Mapping[int, LayerShape], pool: Pool) -> None:
        self.num_blocks, self.block_size = pool.blocks, pool.block_size
        self._attention: dict[int, Attention] = {}
        sizes = [shape.token_bytes * pool.block_size for shape in shapes.values()]
        block_bytes = sum(sizes)
        self._memory = Memory(pool.blocks * block_bytes)
        self._memory.take(self._memory.size // TAKEN)
        begins = accumulate(sizes, initial=self._memory.address)
        self.layers = {
            layer: self._layer(shape, begin, block_bytes)
            for (layer, shape), begin in zip(shapes.items(), begins, strict=False)
        }

    def _layer(self, shape: LayerShape, begin: int, block_bytes: int) -> Cache:
        """`begin` is where its share of block 0 does; `block_bytes` are those of all layers."""
        keys = self.block_size * shape.heads * shape.key_width * shape.dtype.itemsize
        return Cache(
            keys=begin,
            values=begin + keys,
            stride=block_bytes // shape.dtype.itemsize,
            heads=shape.heads,
            key_width=shape.key_width,
            value_width=shape.value_width,
            block_size=self.block_size,
            half=shape.dtype == torch.float16,
        )

    def clean(self, blocks: Sequence[int]) -> None:
        """Nothing to do."""

    def attention(self, layer: int, heads: Heads) -> Attention:
        """What the operators need beside queries, keys and values of the new tokens.

        Made once, but for the place of the sinks: nothing else changes from one step to the next.
        """
        if layer not in self._attention:
            self._attention[layer] = self._describe(layer, heads)
        known = self._attention[layer]
        known.sinks = None if heads.sinks is None else heads.sinks.data_ptr()
        return known

    def _describe(self, layer: int, heads: Heads) -> Attention:
        width = heads.query.shape[-1]
        return Attention(
            cache=self.layers[layer],
            query_heads=heads.query.shape[1],
            window=heads.window or 0,
            scale=width**-0.5 if heads.scaling is None else heads.scaling,
            softcap=heads.softcap or 0.0,
        )
