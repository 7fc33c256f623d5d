"""How many blocks the KV cache gets: from what is free now, never more. Pure arithmetic.

A pool that cannot hold one sequence of a useful length is refused: that is `max_len` where the
user set it, else 512 tokens or the model's own limit if that is less. A number of blocks that the
user set is taken as it is, as long as it fits into free memory.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from r3mes.errors import StartError
from r3mes.settings import EngineSettings

USEFUL = 512
# Bytes of keys and values of one layer that are gathered at once, unless one sequence alone has
# more: on a CPU what stays in its caches, on a GPU enough to fill it with few calls.
CPU_DESK, GPU_DESK = 4 << 20, 64 << 20
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer keeps for one token."""

    heads: int
    key_width: int
    value_width: int
    window: int | None
    dtype: torch.dtype

    @property
    def token_bytes(self) -> int:
        return self.heads * (self.key_width + self.value_width) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Pool:
    """`desk` is the room, in blocks, where those of a group are laid side by side; `group` says
    how much of it several sequences share, a single one may fill it."""

    blocks: int
    block_size: int
    desk: int
    group: int

    @property
    def tokens(self) -> int:
        return self.blocks * self.block_size


def pool_size(
    shapes: Collection[LayerShape],
    engine: EngineSettings,
    *,
    longest: int,
    asked: int | None,
    free: int,
    cpu: bool,
) -> Pool:
    """`asked` is the user's max_len; `kv_memory_limit_mb` holds on a CPU only."""
    size = engine.block_size
    layers = [shape.token_bytes * size for shape in shapes]
    cost = sum(layers) + max(layers)  # the desk is never larger than one layer's share
    if engine.kv_blocks is not None:
        if (engine.kv_blocks + 2) * cost > free:
            raise StartError(
                f"{engine.kv_blocks} KV blocks need {engine.kv_blocks * cost // MIB} MiB, "
                f"and {free // MIB} MiB are free"
            )
        return make_pool(shapes, engine.kv_blocks, block_size=size, longest=longest, cpu=cpu)
    budget = int(free * engine.kv_memory_fraction)
    if cpu:
        budget = min(budget, engine.kv_memory_limit_mb * MIB)
    useful = -(-(asked or min(longest, USEFUL)) // size)
    blocks = min(budget // cost - 2, engine.max_batch * -(-longest // size))
    if blocks < useful:
        raise StartError(
            f"the KV cache may take {budget // MIB} MiB, and one sequence of {useful * size} "
            f"tokens needs {(useful + 2) * cost // MIB + 1} MiB"
        )
    return make_pool(shapes, blocks, block_size=size, longest=longest, cpu=cpu)


def make_pool(
    shapes: Collection[LayerShape], blocks: int, *, block_size: int, longest: int, cpu: bool
) -> Pool:
    """One block more on the desk: a window may begin and end within a block."""
    layer = max(shape.token_bytes for shape in shapes) * block_size
    group = max(1, (CPU_DESK if cpu else GPU_DESK) // layer)
    desk = min(blocks, max(group, -(-longest // block_size))) + 1
    return Pool(blocks, block_size, desk, min(group, desk))
