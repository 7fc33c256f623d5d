"""The KV cache on the device, in the layout of the kernels.

What a row may not see is not even read, whatever lies there: blocks need no cleaning, and none is
set to zero at the start.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from r3mes.engine.pool_size import LayerShape, Pool


class Pages(NamedTuple):
    """Of one layer: [blocks, heads, block size, width]."""

    keys: Tensor
    values: Tensor


class DeviceCache:
    def __init__(
        self, shapes: Mapping[int, LayerShape], pool: Pool, *, device: torch.device
    ) -> None:
        self.num_blocks, self.block_size = pool.blocks, pool.block_size
        self.device = device
        self.layers = {layer: self._pages(shape) for layer, shape in shapes.items()}

    def _pages(self, shape: LayerShape) -> Pages:
        def pages(width: int) -> Tensor:
            size = (self.num_blocks, shape.heads, self.block_size, width)
            return torch.empty(size, dtype=shape.dtype, device=self.device)

        return Pages(pages(shape.key_width), pages(shape.value_width))

    def clean(self, blocks: Sequence[int]) -> None:
        """Nothing to do."""
