"""One layer's attention over a paged cache, by the kernels and by plain torch.

All that no row may see is NaN in the cache, so that whoever reads it is found out.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from r3mes.engine.attention import Heads
from r3mes.engine.cuda.cache import DeviceCache
from r3mes.engine.cuda.sheet import Plan, Sheet
from r3mes.engine.cuda.step import Attention, DeviceStep
from r3mes.engine.pool_size import LayerShape, Pool
from r3mes.engine.runner import Row
from r3mes.engine.step import blocks_of


@dataclass
class Scene:
    """`rows` are (positions before, tokens fed); all else is how the layer asks."""

    rows: list[tuple[int, int]]
    query_heads: int = 4
    heads: int = 2
    key_width: int = 16
    value_width: int = 16
    block_size: int = 16
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    scaling: float | None = None
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    programs: int = 1
    cache: DeviceCache = field(init=False)
    keys: list[Tensor] = field(init=False)  # of each row, [heads, positions, width]
    values: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        lengths = [before + fed for before, fed in self.rows]
        self.blocks = self._tables([blocks_of(length, self.block_size) for length in lengths])
        pool = Pool(sum(map(len, self.blocks)) + 1, self.block_size, desk=1, group=1)
        shape = LayerShape(self.heads, self.key_width, self.value_width, self.window, self.dtype)
        self.cache = DeviceCache({0: shape}, pool, device=torch.device(self.device))
        for pages in self.cache.layers[0]:
            pages.fill_(float("nan"))
        self.keys = [self._random(self.heads, length, self.key_width) for length in lengths]
        self.values = [self._random(self.heads, length, self.value_width) for length in lengths]
        for index, (before, _) in enumerate(self.rows):
            self._remember(index, range(before))

    def _tables(self, counts: list[int]) -> list[list[int]]:
        """Blocks that lie in no order; one is nobody's."""
        free = torch.randperm(sum(counts) + 1).tolist()
        return [[free.pop() for _ in range(count)] for count in counts]

    def _random(self, *size: int) -> Tensor:
        return torch.randn(size).to(self.device, self.dtype)

    def _remember(self, row: int, positions: range) -> None:
        pages = self.cache.layers[0]
        for at in positions:
            block, place = self.blocks[row][at // self.block_size], at % self.block_size
            pages.keys[block, :, place] = self.keys[row][:, at]
            pages.values[block, :, place] = self.values[row][:, at]

    def asked(self) -> Heads:
        """What the module hands over: [1, heads, tokens, width], as views of [tokens, heads, …]."""
        fed = [slice(before, before + count) for before, count in self.rows]
        tokens = sum(count for _, count in self.rows)
        query = self._random(1, tokens, self.query_heads, self.key_width).transpose(1, 2)
        new = [
            torch.cat([one[:, part] for one, part in zip(all_, fed, strict=True)], dim=1)[None]
            for all_ in (self.keys, self.values)
        ]
        sinks = self._random(self.query_heads) if self.sinks else None
        return Heads(query, *new, self.scaling, self.window, self.softcap, sinks)

    def computed(self, asked: Heads, *, blanks: int = 0) -> Tensor:
        """By the kernels, [tokens, query heads, width]; the cache holds the new tokens then."""
        sheet, attention = self.prepared(asked, blanks=blanks)
        plan = self.written(sheet, attention, blanks=blanks)
        padded = replace(
            asked,
            **{
                name: torch.nn.functional.pad(getattr(asked, name), (0, 0, 0, blanks))
                for name in ("query", "key", "value")
            },
        )
        return DeviceStep(attention, plan).attend(0, padded)[0]

    def prepared(self, asked: Heads, *, blanks: int = 0) -> tuple[Sheet, Attention]:
        lengths = [before + fed for before, fed in self.rows]
        sheet = Sheet(
            tokens=sum(fed for _, fed in self.rows) + blanks,
            rows=len(self.rows) + blanks,
            table=sum(map(len, self.blocks)),
            block_size=self.block_size,
            device=self.cache.device,
        )
        attention = Attention(
            {0: asked}, self.cache, sheet, programs=self.programs, longest=max(lengths)
        )
        return sheet, attention

    def written(self, sheet: Sheet, attention: Attention, *, blanks: int = 0) -> Plan:
        rows = [
            Row([7] * fed, before, blocks, None)
            for (before, fed), blocks in zip(self.rows, self.blocks, strict=True)
        ]
        rows += [Row((0,), -1, (), None)] * blanks
        return sheet.write(rows, [], tile=attention.tile)

    def expected(self, asked: Heads) -> Tensor:
        """By plain torch in float32, row by row."""
        queries = asked.query[0].split([fed for _, fed in self.rows], dim=1)
        parts = [self._row(i, query, asked) for i, query in enumerate(queries)]
        return torch.cat(parts, dim=1).transpose(0, 1)

    def _row(self, row: int, query: Tensor, asked: Heads) -> Tensor:
        before, fed = self.rows[row]
        group = self.query_heads // self.heads
        key, value = (
            it[row].float().repeat_interleave(group, 0) for it in (self.keys, self.values)
        )
        scale = self.key_width**-0.5 if self.scaling is None else self.scaling
        scores = query.float() @ key.transpose(1, 2) * scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        asks = torch.arange(before, before + fed, device=scores.device)[:, None]
        seen = torch.arange(before + fed, device=scores.device)[None]
        hidden = seen > asks
        if self.window is not None:
            hidden |= seen <= asks - self.window
        scores = scores.masked_fill(hidden, float("-inf"))
        if asked.sinks is not None:
            sinks = asked.sinks.float()[:, None, None].expand(-1, fed, 1)
            return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1] @ value
        return scores.softmax(-1) @ value


SCENES: dict[str, dict[str, Any]] = {
    "one token, nothing before": {"rows": [(0, 1)]},
    "decode, ragged": {"rows": [(0, 1), (5, 1), (16, 1), (70, 1)]},
    "decode, split": {"rows": [(0, 1), (5, 1), (300, 1)], "programs": 16},
    "a prompt": {"rows": [(0, 37)]},
    "a later chunk": {"rows": [(33, 20)]},
    "decode beside chunks": {"rows": [(40, 1), (7, 1), (0, 21), (19, 5)], "programs": 8},
    "chunks of several tiles": {"rows": [(3, 70), (0, 40)], "heads": 1, "query_heads": 4},
    "drafts over a long history, split": {"rows": [(290, 4)], "programs": 16},
    "every query head has its own": {"rows": [(20, 1), (9, 6)], "heads": 4},
    "a group of 7": {"rows": [(20, 1), (9, 6)], "query_heads": 14},
    "64 wide": {"rows": [(20, 1), (9, 6)], "key_width": 64, "value_width": 64},
    "80 wide": {"rows": [(20, 1), (9, 6)], "key_width": 80, "value_width": 80},
    "128 wide": {"rows": [(150, 1), (9, 6)], "key_width": 128, "value_width": 128, "programs": 8},
    "values narrower than keys": {"rows": [(20, 1), (9, 6)], "key_width": 24, "value_width": 12},
    "values wider than keys": {"rows": [(20, 1), (9, 6)], "value_width": 40},
    "a window": {"rows": [(70, 1), (3, 1), (30, 25)], "window": 16},
    "a window, split": {"rows": [(400, 1), (3, 1)], "window": 300, "programs": 16},
    "a cap": {"rows": [(20, 1), (9, 6)], "softcap": 2.0, "scaling": 1.0},
    "sinks": {"rows": [(20, 1), (9, 6)], "sinks": True},
    "sinks, split": {"rows": [(0, 1), (300, 1), (290, 3)], "sinks": True, "programs": 16},
    "all of it": {
        "rows": [(200, 1), (3, 1), (170, 9)],
        "window": 150,
        "softcap": 3.0,
        "sinks": True,
        "programs": 16,
    },
    "blocks of 8": {"rows": [(20, 1), (9, 6)], "block_size": 8},
    "blocks of 12": {"rows": [(20, 1), (9, 6)], "block_size": 12},
    "blocks of 64": {"rows": [(130, 1), (60, 9)], "block_size": 64},
}
