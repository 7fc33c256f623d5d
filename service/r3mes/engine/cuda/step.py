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
from r3mes.engine.cuda.geometry import (
    Shape,
    keys_at_once,
    padded,
    power_of_two,
    splits,
    tile_tokens,
)
from r3mes.engine.cuda.sheet import Plan, Sheet

OPTIONS = {"enable_fp_fusion": True}  # else Triton warns that its default will change
TOLD = ("begins", "lengths", "table_begins", "tables", "tile_rows", "tile_firsts")


class Layer:
    """One layer: its pages, and what its kernels are compiled for. `like` is how it once asked."""

    def __init__(self, pages: Pages, like: Heads) -> None:
        self.pages = pages
        _, heads, block, key_width = pages.keys.shape
        value_width = pages.values.shape[3]
        self.scale = key_width**-0.5 if like.scaling is None else like.scaling
        self.softcap = like.softcap or 0.0
        self.shape = Shape(
            heads=heads,
            heads_pad=power_of_two(heads),
            group=like.query.shape[1] // heads,
            key_width=key_width,
            key_pad=padded(key_width),
            value_width=value_width,
            value_pad=padded(value_width),
            block=block,
            window=like.window or 0,
            capped=like.softcap is not None,
            sinks=like.sinks is not None,
            keys=keys_at_once(key_width, value_width, pages.keys.itemsize),
            itemsize=pages.keys.itemsize,
        )


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
        self.tile = tile_tokens([layer.shape for layer in self.layers.values()])
        numbers = sheet.device.parts
        self.slots, self.sheet = numbers["slots"], tuple(numbers[name] for name in TOLD)
        self.programs, self.longest = programs, longest

    def splits(self, layer: Layer, tiles: int) -> int:
        steps = -(-self.longest // layer.shape.keys)
        return splits(tiles, layer.shape.heads, programs=self.programs, longest=steps)


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
        out = query.new_empty(1, query.shape[0], query.shape[1], it.shape.value_width)
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
        kernels.store[key.shape[0],](
            key,
            value,
            *layer.pages,
            self.attention.slots,
            *key.stride()[:2],
            *value.stride()[:2],
            SHAPE=layer.shape,
            num_warps=4,
            **OPTIONS,
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
            torch.empty(
                lines, ways, layer.shape.value_width, dtype=torch.float32, device=out.device
            ),
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
            SHAPE=layer.shape,
            SPLITS=ways,
            num_warps=4,
            **OPTIONS,
        )

    def _mix(
        self, layer: Layer, part: Part, query: Tensor, sinks: Tensor | None, mixed: "Mixed"
    ) -> None:
        kernels.attend[part.tiles, layer.shape.heads, mixed.splits](
            query,
            *layer.pages,
            query if sinks is None else sinks,
            mixed.out,
            mixed.sums,
            self.attention.sheet,
            part.first_tile,
            mixed.first_token,
            *query.stride()[:2],
            layer.scale,
            layer.softcap,
            SHAPE=layer.shape,
            SPLITS=mixed.splits,
            TOKENS=part.tile,
            ROWS=layer.shape.rows(part.tile),
            num_warps=layer.shape.warps(part.tile),
            num_stages=2,
            **OPTIONS,
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
