"""The memory that holds keys and values, in blocks of tokens.

Owns the tensors and their layout. Knows nothing of sequences: it writes rows to slots and
gathers blocks by number. A slot is block number x block size + offset.

Each layer keeps keys and values as [blocks, block size x heads x width]: a block is one stretch
of memory, so gathering one is a single copy. One block more than promised stays zero for ever:
tables are padded with it, and what is masked is then never infinite.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from r3mes.engine.pool_size import LayerShape, Pool
from r3mes.engine.transfer import to_device


def zeros(blocks: int, width: int, *, like: Tensor) -> Tensor:
    """On a CPU pages come zeroed when first touched: no start waits for gigabytes."""
    if like.device.type != "cpu":
        return like.new_zeros(blocks, width)
    raw = np.zeros(blocks * width * like.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(like.dtype).view(blocks, width)


class Pages:
    """Keys, or values, of one layer."""

    def __init__(
        self, blocks: int, block_size: int, heads: int, width: int, *, like: Tensor
    ) -> None:
        self.heads, self.width, self.block_size = heads, width, block_size
        self.data = zeros(blocks, block_size * heads * width, like=like)
        self.slots = self.data.view(blocks * block_size, heads * width)

    def write(self, slots: Tensor, new: Tensor) -> None:
        """`new` is [1, heads, T, width]."""
        self.slots.index_copy_(0, slots, new[0].transpose(0, 1).reshape(-1, self.slots.shape[1]))

    def gather(self, table: Tensor, desk: Tensor) -> Tensor:
        """The blocks of `table` [B, n] as [B, heads, n x block size, width], laid on the desk."""
        rows, blocks = table.shape
        flat = desk[: table.numel() * self.data.shape[1]].view(-1, self.data.shape[1])
        torch.index_select(self.data, 0, table.view(-1), out=flat)
        return flat.view(rows, blocks * self.block_size, self.heads, self.width).transpose(1, 2)

    def clean(self, blocks: Tensor) -> None:
        """Make what is not finite zero, so that a later owner of the block is not harmed."""
        held = self.data.index_select(0, blocks)
        self.data.index_copy_(0, blocks, held.nan_to_num_(0.0, 0.0, 0.0))


class KVStore:
    """All layers' pages, and two desks that gathered blocks are laid on, shared by all layers."""

    def __init__(
        self, shapes: Mapping[int, LayerShape], pool: Pool, *, device: torch.device
    ) -> None:
        self.num_blocks, self.block_size = pool.blocks, pool.block_size
        self.desk_blocks, self.group_blocks = pool.desk, pool.group
        self.device = device
        self.keys: dict[int, Pages] = {}
        self.values: dict[int, Pages] = {}
        for layer, shape in shapes.items():
            like = torch.empty(0, dtype=shape.dtype, device=device)
            count, size = pool.blocks + 1, pool.block_size
            self.keys[layer] = Pages(count, size, shape.heads, shape.key_width, like=like)
            self.values[layer] = Pages(count, size, shape.heads, shape.value_width, like=like)
        self._desks = self._make_desks()

    def _make_desks(self) -> tuple[Tensor, Tensor]:
        def desk(pages: Mapping[int, Pages]) -> Tensor:
            widest = max(pages.values(), key=lambda one: one.data.shape[1])
            return widest.data.new_empty(self.desk_blocks * widest.data.shape[1])

        return desk(self.keys), desk(self.values)

    @property
    def zero_block(self) -> int:
        return self.num_blocks

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        self.keys[layer].write(slots, key)
        self.values[layer].write(slots, value)

    def gather(self, layer: int, table: Tensor) -> tuple[Tensor, Tensor]:
        """Valid until the next gather."""
        key_desk, value_desk = self._desks
        return (
            self.keys[layer].gather(table, key_desk),
            self.values[layer].gather(table, value_desk),
        )

    def clean(self, blocks: Sequence[int]) -> None:
        numbers = to_device(blocks, torch.int64, self.device)
        for pages in (*self.keys.values(), *self.values.values()):
            pages.clean(numbers)
