"""Into what pieces a batch is cut for the device: buckets, tiles, splits. Pure arithmetic.

Every number here that a kernel is compiled for comes from a small set, so that all of it can be
compiled before the first request.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

LEAST = 16  # rows and columns of a matrix product on a tensor core
TILE_ROWS = 128  # most query rows of a tile
TILE_BYTES = 32 << 10  # most of a tile's queries: they stay in shared memory
READ_BYTES = 32 << 10  # keys and values read together; twice that is in shared memory
READ_KEYS = 128
MOST_SPLITS = 32
MANY = 1 << 13  # numbers of a tile, or of the keys read together, from which a program has 8 warps


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


class Shape(NamedTuple):
    """What the kernels of one layer are compiled for; `group` query heads share a head of keys."""

    heads: int
    heads_pad: int
    group: int
    key_width: int
    key_pad: int
    value_width: int
    value_pad: int
    block: int  # tokens
    window: int  # 0 is none
    capped: bool
    sinks: bool
    keys: int  # positions that a program looks at together
    itemsize: int  # of keys, values and queries

    def rows(self, tokens: int) -> int:
        """Of a tile."""
        return max(LEAST, power_of_two(tokens * self.group))

    def warps(self, tokens: int) -> int:
        """Of a program: so many that what it holds fits into their registers."""
        lines = max(self.rows(tokens), self.keys)
        return 8 if lines * max(self.key_pad, self.value_pad) >= MANY else 4


def keys_at_once(key_width: int, value_width: int, itemsize: int) -> int:
    each = (padded(key_width) + padded(value_width)) * itemsize
    return max(LEAST, min(READ_KEYS, power_of_two(READ_BYTES // each + 1) // 2))


def tile_tokens(shapes: Sequence[Shape]) -> int:
    """Tokens of one row that a tile holds, the same for all layers."""
    widest = max(max(it.key_pad, it.value_pad) * it.itemsize for it in shapes)
    most = min(TILE_ROWS, TILE_BYTES // widest)
    return max(1, most // max(it.group for it in shapes))


def splits(tiles: int, heads: int, *, programs: int, longest: int) -> int:
    """Into how many parts what a tile sees is split: a power of two.

    As many as fill the device, which runs that many programs at once. Each part is a share of what
    a row sees, however long that is: a graph that was recorded for a number of splits holds for
    every length. `longest` is in steps of a program; what has few of them is not split for nothing.
    """
    wanted = min(programs // (tiles * heads), longest, MOST_SPLITS)
    return power_of_two(wanted + 1) // 2 if wanted > 1 else 1


def most_tiles(*, tokens: int, rows: int, tile: int) -> int:
    """Of a batch's rows with more than one token: many short prompts have a tile each."""
    short = 0 if tile == 1 else min(rows - 1, (tokens - 2) // 2)
    return short + -(-(tokens - 2 * short) // tile)


def with_tiles(tiles: int, *, tokens: int, tile: int) -> list[int]:
    """Tokens of as few rows as can have so many tiles together; none of them has a single token.

    One long row, and for each tile that it has no tokens for a short one.
    """
    short = 0
    while 2 * short + (tiles - short - 1) * tile + 1 > tokens:
        short += 1
    return [2] * short + [max(2, (tiles - short - 1) * tile + 1)]


def split_steps(heads: int, *, programs: int, most: int) -> Iterator[int]:
    """Numbers of tiles, up to `most`, between which all numbers of splits lie."""
    tiles = 1
    while tiles < most and tiles * heads < programs:
        yield tiles
        tiles *= 2
    yield max(1, min(tiles, most))
