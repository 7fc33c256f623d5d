"""Owns which block of the KV cache belongs to whom. Knows nothing of tensors or of scheduling.

A block is in exactly one of three states: *used* (referenced by one or more block tables), *cached*
(referenced by none, but its content is a known prefix and can be shared again) or *free*. Cached
blocks are handed out again, oldest first, once no free one is left.
"""

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from itertools import chain, takewhile

from r3mes.errors import InternalError

DIGEST_BYTES = 16


def digest(parent: bytes, tokens: Seq[int]) -> bytes:
    """Name of a full block: its ids and, through `parent`, all ids before them."""
    return hashlib.blake2b(parent + array("I", tokens).tobytes(), digest_size=DIGEST_BYTES).digest()


class BlockPool:
    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._references = [0] * num_blocks
        self._digests: list[bytes | None] = [None] * num_blocks
        self._blocks: dict[bytes, int] = {}  # digest to the block that holds this prefix
        self._free = list(reversed(range(num_blocks)))  # a stack: warm memory is taken first
        # To its digest, in order of release, oldest first; a dict would search past all that has
        # left its front.
        self._cached: OrderedDict[int, bytes] = OrderedDict()

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def cached(self) -> int:
        return len(self._cached)

    @property
    def available(self) -> int:
        """Blocks that `take` can hand out."""
        return len(self._free) + len(self._cached)

    @property
    def used(self) -> int:
        return self.num_blocks - self.available

    def blocks_for(self, positions: int) -> int:
        return -(-positions // self.block_size)

    def is_used(self, block: int) -> bool:
        return self._references[block] > 0

    def take(self, count: int) -> list[int]:
        """Hand out `count` blocks of unknown content, each with one reference."""
        if count > self.available:
            raise InternalError(f"{count} blocks wanted, {self.available} available")
        taken = [self._free.pop() if self._free else self._evict() for _ in range(count)]
        for block in taken:
            self._references[block] = 1
        return taken

    def find(self, digests: Iterable[bytes]) -> list[int]:
        """The blocks that hold the longest known prefix of a chain; takes no reference."""
        found = takewhile(lambda block: block is not None, map(self._blocks.get, digests))
        return [block for block in found if block is not None]

    def share(self, blocks: Iterable[int]) -> None:
        """Add a reference to each of these blocks, which `find` has just named."""
        for block in blocks:
            self._cached.pop(block, None)
            self._references[block] += 1

    def publish(self, block: int, name: bytes) -> None:
        """Let others find this used, full and final block. The first of two equal blocks stays."""
        if name not in self._blocks:
            self._blocks[name] = block
            self._digests[block] = name

    def release(self, blocks: Seq[int]) -> None:
        """Give up one reference to each. Last block first: a chain is of use from its head only."""
        for block in reversed(blocks):
            if not self._references[block]:
                raise InternalError(f"block {block} released twice")
            self._references[block] -= 1
            if self._references[block]:
                continue
            name = self._digests[block]
            if name is None:
                self._free.append(block)
            else:
                self._cached[block] = name

    def check(self, tables: Iterable[Seq[int]]) -> None:
        """Raise InternalError unless `tables` hold all references and every block has one state."""
        held = Counter(chain.from_iterable(tables))
        states = Counter(chain(held.keys(), self._free, self._cached))
        named = {name: block for block, name in enumerate(self._digests) if name is not None}
        broken = {
            "references differ from the block tables": self._references
            != [held[block] for block in range(self.num_blocks)],
            "a block is in no state or in two": states != Counter(range(self.num_blocks)),
            "the index and the blocks' names differ": named != self._blocks,
            "a free block has a name": any(self._digests[block] for block in self._free),
            "a cached block has another name": any(
                self._digests[block] != name for block, name in self._cached.items()
            ),
        }
        for fault, present in broken.items():
            if present:
                raise InternalError(fault)

    def _evict(self) -> int:
        block, name = self._cached.popitem(last=False)
        del self._blocks[name]
        self._digests[block] = None
        return block
