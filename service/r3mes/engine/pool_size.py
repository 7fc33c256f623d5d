"""How many blocks the KV cache gets: from what is free now, never more. Pure arithmetic.

A pool that cannot hold one sequence of a useful length is refused: that is `max_len` where the
user set it, else 512 tokens or the model's own limit if that is less. A number of blocks that the
user set is taken as it is, as long as it fits into free memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from r3mes.errors import StartError
from r3mes.settings import EngineSettings

USEFUL = 512
DESK = 1024  # blocks gathered at once, unless one sequence alone needs more
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
    """`desk` is the room, in blocks, in which a group's blocks are laid side by side."""

    blocks: int
    block_size: int
    desk: int

    @property
    def tokens(self) -> int:
        return self.blocks * self.block_size


def pool_size(
    shapes: Iterable[LayerShape],
    engine: EngineSettings,
    *,
    longest: int,
    asked: int | None,
    free: int,
    limited: bool,
) -> Pool:
    """`asked` is the user's max_len; `limited` says that `kv_memory_limit_mb` applies."""
    size = engine.block_size
    layers = [shape.token_bytes * size for shape in shapes]
    cost = sum(layers) + max(layers)  # the desk is never larger than one layer's share
    if engine.kv_blocks is not None:
        if (engine.kv_blocks + 2) * cost > free:
            raise StartError(
                f"{engine.kv_blocks} KV blocks need {engine.kv_blocks * cost // MIB} MiB, "
                f"and {free // MIB} MiB are free"
            )
        return make_pool(engine.kv_blocks, size, longest)
    budget = int(free * engine.kv_memory_fraction)
    if limited:
        budget = min(budget, engine.kv_memory_limit_mb * MIB)
    useful = -(-(asked or min(longest, USEFUL)) // size)
    blocks = min(budget // cost - 2, engine.max_batch * -(-longest // size))
    if blocks < useful:
        raise StartError(
            f"the KV cache may take {budget // MIB} MiB, and one sequence of {useful * size} "
            f"tokens needs {(useful + 2) * cost // MIB + 1} MiB"
        )
    return make_pool(blocks, size, longest)


def make_pool(blocks: int, block_size: int, longest: int) -> Pool:
    """One block more on the desk: a window may begin and end within a block."""
    widest = max(DESK, -(-longest // block_size))
    return Pool(blocks, block_size, min(blocks, widest) + 1)
