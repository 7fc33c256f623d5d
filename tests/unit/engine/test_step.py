"""How rows are ordered and grouped, and what a group may see."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from r3mes.engine import attention
from r3mes.engine.attention import Heads
from r3mes.engine.kv_store import KVStore
from r3mes.engine.pool_size import LayerShape, Pool
from r3mes.engine.runner import Row
from r3mes.engine.step import PagedStep, group, order


def row(start: int, feed: int = 1, blocks: list[int] | None = None) -> Row:
    return Row([0] * feed, start, blocks if blocks is not None else list(range(64)), None)


def groups(rows: list[Row], *, most: int = 1000) -> list[tuple[int, int, int, int]]:
    found = group(rows, block_size=4, most_blocks=most)
    return [(one.first, one.last, one.begin, one.end) for one in found]


def store(blocks: int = 8) -> KVStore:
    shapes = {0: LayerShape(1, 2, 2, None, torch.float32)}
    return KVStore(shapes, Pool(blocks, 4, blocks, blocks), device=torch.device("cpu"))


def test_single_tokens_come_first_by_length_and_prompts_after() -> None:
    rows = [row(0, 9), row(30), row(5), row(0, 3)]

    assert [2, 1, 3, 0] == order(rows)


def test_rows_of_similar_length_are_one_group_and_prompts_stand_alone() -> None:
    rows = [row(10), row(12), row(15), row(0, 5), row(4, 6)]

    assert [(0, 3, 0, 3), (3, 4, 3, 8), (4, 5, 8, 14)] == groups(rows)


def test_a_row_far_longer_than_the_shortest_starts_a_group() -> None:
    assert [(0, 2, 0, 2), (2, 3, 2, 3)] == groups([row(10), row(20), row(200)])


def test_a_group_never_needs_more_blocks_than_the_desk_has() -> None:
    assert [(0, 2, 0, 2), (2, 4, 2, 4)] == groups([row(11)] * 4, most=7)


def test_new_tokens_go_to_the_slots_of_their_blocks() -> None:
    step = PagedStep([row(5, 1, [7, 2]), row(2, 3, [4, 1])], store(), torch.float32)

    assert [2 * 4 + 1, 4 * 4 + 2, 4 * 4 + 3, 1 * 4 + 0] == step.slots.tolist()


def test_tables_are_padded_with_the_block_that_stays_zero() -> None:
    step = PagedStep([row(2, 1, [5]), row(6, 1, [3, 1])], store(), torch.float32)

    view = step.view(step.groups[0], None)

    assert [[5, 8], [3, 1]] == view.table.tolist()
    assert [3, 7] == (view.mask(slice(None)) == 0).sum(dim=-1)[:, 0].tolist()


def test_a_window_reads_only_its_blocks() -> None:
    step = PagedStep([row(13, 1, [5, 6, 7, 2])], store(), torch.float32)

    view = step.view(step.groups[0], 3)

    assert [[7, 2]] == view.table.tolist()  # positions 8 to 15
    assert [11, 12, 13] == [8 + int(i) for i in (view.mask(slice(None))[0, 0] == 0).nonzero()]


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation makes."""

    nbytes = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made._base is None:
            self.nbytes = max(self.nbytes, made.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("window", [None, 700])
def test_a_chunk_far_into_a_long_context_takes_bounded_memory_and_sees_the_same(
    monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    """64 new tokens after 2000: the whole mask would be 500 KB."""
    dice = torch.Generator().manual_seed(0)
    shared = store(516)
    shared.keys[0].data.normal_(generator=dice)
    shared.values[0].data.normal_(generator=dice)
    query, key, value = (torch.randn(1, 1, 64, 2, generator=dice) for _ in range(3))
    heads = Heads(query, key, value, None, window, None, None)
    chunk = row(2000, 64, list(range(516)))
    whole = PagedStep([chunk], shared, torch.float32).attend(0, heads)

    monkeypatch.setattr(attention, "SCORES_BYTES", 1 << 16)
    with Largest() as largest:
        parts = PagedStep([chunk], shared, torch.float32).attend(0, heads)

    torch.testing.assert_close(whole, parts)
    assert 1 << 14 < largest.nbytes <= 1 << 16
