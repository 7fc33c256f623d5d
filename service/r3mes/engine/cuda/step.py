"""Attention of one forward pass, by the kernels: the step that travels with it.

Owns the grids. All that a kernel reads of a batch lies on the sheet, so that a recorded step serves
whatever the sheet says later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from r3mes.engine.attention import Heads
from r3mes.engine.cuda import kernels
from r3mes.engine.cuda.cache import DeviceCache, Pages
from r3mes.engine.cuda.geometry import Head, padded, splits, tile_tokens
from r3mes.engine.cuda.sheet import Plan, Sheet


class Layer:
    """One layer: its pages, and what its kernels are compiled for. `like` is how it once asked."""

    def __init__(self, pages: Pages, like: Heads) -> None:
        self.pages = pages
        shared, block_size = pages.keys.shape[1:3]
        key_width, value_width = pages.keys.shape[3], pages.values.shape[3]
        group = like.query.shape[1] // shared
        self.head = Head(group, key_width, value_width, pages.keys.itemsize)
        self.shared, self.value_width = shared, value_width
        self.scale = key_width**-0.5 if like.scaling is None else like.scaling
        self.softcap = like.softcap or 0.0
        self.shape = {
            "HEADS": shared,
            "KEY_WIDTH": key_width,
            "VALUE_WIDTH": value_width,
            "KEY_PAD": padded(key_width),
            "VALUE_PAD": padded(value_width),
            "BLOCK": block_size,
        }
        self.looks = {
            "GROUP": group,
            "WINDOW": like.window or 0,
            "CAPPED": like.softcap is not None,
            "SINKS": like.sinks is not None,
            "KEYS": self.head.keys,
            # In float32 as exact as the stock model; 16 bits go to the tensor cores as they are.
            "PRECISION": "ieee",
        }


class Attention:
    """All layers over one cache, for batches of one sheet.

    `programs` is how many the device runs at once, `longest` the longest sequence in tokens.
    """

    def __init__(
        self,
        layers: Mapping[int, Heads],
        cache: DeviceCache,
        sheet: Sheet,
        *,
        programs: int,
        longest: int,
    ) -> None:
        self.layers = {number: Layer(cache.layers[number], it) for number, it in layers.items()}
        self.tile = tile_tokens([layer.head for layer in self.layers.values()])
        self.numbers = sheet.device.parts
        self.programs, self.longest = programs, longest

    def splits(self, layer: Layer, tiles: int) -> int:
        steps = -(-self.longest // layer.head.keys)
        return splits(tiles, layer.shared, programs=self.programs, longest=steps)


@dataclass(frozen=True, slots=True)
class Part:
    """Tiles of a batch that are launched together, of at most `tile` tokens each."""

    first_tile: int
    tiles: int
    first_token: int
    tokens: int
    tile: int


@dataclass(frozen=True, slots=True)
class DeviceStep:
    """Implements `attention.Step`."""

    attention: Attention
    plan: Plan

    def attend(self, layer: int, heads: Heads) -> Tensor:
        it = self.attention.layers[layer]
        query, key, value = (_by_token(one) for one in (heads.query, heads.key, heads.value))
        self._store(it, key, value)
        out = query.new_empty(1, query.shape[0], query.shape[1], it.value_width)
        for part in self._parts():
            self._attend(it, part, query, heads.sinks, out)
        return out

    def _parts(self) -> list[Part]:
        """The rows with one token, and the tiles of all others."""
        plan = self.plan
        single, tile = plan.single, self.attention.tile
        parts = (
            Part(0, single, 0, single, 1),
            Part(single, plan.tiles - single, single, plan.tokens - single, tile),
        )
        return [part for part in parts if part.tiles]

    def _store(self, layer: Layer, key: Tensor, value: Tensor) -> None:
        kernels.store[key.shape[0], layer.shared](
            key,
            value,
            *layer.pages,
            self.attention.numbers["slots"],
            *key.stride()[:2],
            *value.stride()[:2],
            **layer.shape,
            num_warps=1,
        )

    def _attend(
        self, layer: Layer, part: Part, query: Tensor, sinks: Tensor | None, out: Tensor
    ) -> None:
        """Writes the part's tokens of `out` [1, tokens, query heads, width]."""
        ways = self.attention.splits(layer, part.tiles)
        if ways == 1:
            self._mix(layer, part, query, sinks, Mixed(out, out, first_token=0, splits=1))
            return
        lines = part.tokens * query.shape[1]
        mixed = Mixed(
            torch.empty(lines, ways, layer.value_width, dtype=torch.float32, device=out.device),
            torch.empty(lines, ways, dtype=torch.float32, device=out.device),
            first_token=part.first_token,
            splits=ways,
        )
        self._mix(layer, part, query, sinks, mixed)
        kernels.combine[lines,](
            mixed.out,
            mixed.sums,
            out,
            part.first_token * query.shape[1],
            VALUE_WIDTH=layer.value_width,
            VALUE_PAD=layer.shape["VALUE_PAD"],
            SPLITS=ways,
            num_warps=1,
        )

    def _mix(
        self, layer: Layer, part: Part, query: Tensor, sinks: Tensor | None, mixed: "Mixed"
    ) -> None:
        numbers = self.attention.numbers
        names = ("begins", "lengths", "table_begins", "tables", "tile_rows", "tile_firsts")
        kernels.attend[part.tiles, layer.shared, mixed.splits](
            query,
            *layer.pages,
            query if sinks is None else sinks,
            mixed.out,
            mixed.sums,
            *(numbers[name] for name in names),
            part.first_tile,
            mixed.first_token,
            *query.stride()[:2],
            layer.scale,
            layer.softcap,
            **layer.shape,
            **layer.looks,
            SPLITS=mixed.splits,
            TOKENS=part.tile,
            ROWS=layer.head.rows(part.tile),
            num_warps=layer.head.warps(part.tile),
            num_stages=2,
        )


@dataclass(frozen=True, slots=True)
class Mixed:
    """Where results go: `out` and, where there are several splits, the sum of each one's weights;
    both begin with `first_token`."""

    out: Tensor
    sums: Tensor
    first_token: int
    splits: int


def _by_token(heads: Tensor) -> Tensor:
    """[1, heads, tokens, width] as [tokens, heads, width]; the kernels want widths in a row."""
    flat = heads[0].transpose(0, 1)
    return flat if flat.stride(-1) == 1 else flat.contiguous()
