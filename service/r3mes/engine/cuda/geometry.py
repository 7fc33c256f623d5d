"""Into what pieces a batch is cut for the device: buckets, tiles, splits. Pure arithmetic.

Every number here that a kernel is compiled for comes from a small set, so that all of it can be
compiled before the first request.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LEAST = 16  # rows and columns of a matrix product on a tensor core
TILE_ROWS = 128  # most query rows of a tile
TILE_FLOATS = 1 << 14  # most numbers of a tile's result: they stay in registers
READ_BYTES = 32 << 10  # keys and values read together; twice that is in shared memory
READ_KEYS = 128
MOST_SPLITS = 32
MANY_FLOATS = 1 << 13  # results larger than this take 8 warps of a program


def power_of_two(least: int) -> int:
    """The first that is at least that."""
    return 1 << max(0, least - 1).bit_length()


def padded(width: int) -> int:
    """Of a head, as a tile has it."""
    return max(LEAST, power_of_two(width))


def buckets(most: int) -> list[int]:
    """1, 2, 4, 8, 16, 24, 32, ... and `most` itself: the sizes of decode batches."""
    return [*(size for size in (1, 2, 4) if size < most), *range(8, most, 8), most]


def bucket(count: int, sizes: Sequence[int]) -> int:
    """The first that holds so many rows."""
    return next(size for size in sizes if size >= count)


@dataclass(frozen=True, slots=True)
class Head:
    """What the tiles of one layer depend on; `group` query heads share one head of keys."""

    group: int
    key_width: int
    value_width: int
    itemsize: int

    @property
    def row_floats(self) -> int:
        return max(padded(self.key_width), padded(self.value_width))

    @property
    def keys(self) -> int:
        """Positions that a program looks at together."""
        each = (padded(self.key_width) + padded(self.value_width)) * self.itemsize
        return max(LEAST, min(READ_KEYS, power_of_two(READ_BYTES // each + 1) // 2))

    def rows(self, tokens: int) -> int:
        return max(LEAST, power_of_two(tokens * self.group))

    def warps(self, tokens: int) -> int:
        return 8 if self.rows(tokens) * self.row_floats > MANY_FLOATS else 4


def tile_tokens(heads: Sequence[Head]) -> int:
    """Tokens of one row that a tile holds, the same for all layers."""
    return max(1, min(min(TILE_ROWS, TILE_FLOATS // it.row_floats) // it.group for it in heads))


def splits(tiles: int, heads: int, *, programs: int, longest: int) -> int:
    """Into how many parts what a tile sees is split: a power of two.

    As many as fill the device, which runs that many programs at once. Each part is a share of what
    a row sees, however long that is: a graph that was recorded for a number of splits holds for
    every length. `longest` is in steps of a program; what has few of them is not split for nothing.
    """
    wanted = min(programs // (tiles * heads), longest, MOST_SPLITS)
    return power_of_two(wanted + 1) // 2 if wanted > 1 else 1


def split_steps(heads: int, *, programs: int, most: int) -> Iterator[int]:
    """Numbers of tiles, up to `most`, between which all numbers of splits lie."""
    tiles = 1
    while tiles < most and tiles * heads < programs:
        yield tiles
        tiles *= 2
    yield max(1, min(tiles, most))
