"""The pool hands out blocks once, shares equal prefixes and forgets the oldest first."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from r3mes.engine.block_pool import BlockPool, digest
from r3mes.errors import InternalError

A, B, C = (digest(b"", [id]) for id in (1, 2, 3))


def test_a_digest_depends_on_everything_before_the_block() -> None:
    alone, after = digest(b"", [5, 6]), digest(A, [5, 6])

    assert alone != after


def test_a_digest_has_no_doubt_about_where_an_id_ends() -> None:
    assert digest(b"", [1, 256]) != digest(b"", [257, 0])
    assert 16 == len(digest(b"", [1]))


@pytest.mark.parametrize(("positions", "blocks"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_positions_round_up_to_blocks(positions: int, blocks: int) -> None:
    assert blocks == BlockPool(8, 4).blocks_for(positions)


def test_no_block_is_handed_out_twice() -> None:
    pool = BlockPool(8, 4)

    assert set(range(8)) == {*pool.take(3), *pool.take(5)}
    assert 0 == pool.available


def test_taking_more_than_there_is_changes_nothing() -> None:
    pool = BlockPool(2, 4)

    with pytest.raises(InternalError):
        pool.take(3)
    assert 2 == pool.available


def test_a_block_cannot_be_released_twice() -> None:
    pool = BlockPool(2, 4)
    block = pool.take(1)
    pool.release(block)

    with pytest.raises(InternalError, match="twice"):
        pool.release(block)


def test_a_published_prefix_is_found_after_its_release() -> None:
    pool = BlockPool(4, 4)
    blocks = pool.take(2)
    for block, name in zip(blocks, (A, B), strict=True):
        pool.publish(block, name)
    pool.release(blocks)

    assert blocks == pool.find([A, B, C])
    assert (2, 2, 0) == (pool.free, pool.cached, pool.used)


def test_a_prefix_is_found_from_its_head_only() -> None:
    pool = BlockPool(4, 4)
    (block,) = pool.take(1)
    pool.publish(block, B)

    assert [] == pool.find([A, B])


def test_a_shared_block_is_used_until_its_last_holder_lets_go() -> None:
    pool = BlockPool(4, 4)
    block = pool.take(1)
    pool.publish(block[0], A)
    pool.share(block)
    pool.release(block)

    assert 1 == pool.used
    pool.release(block)
    assert (0, 1) == (pool.used, pool.cached)


def test_of_two_equal_blocks_the_first_stays_known() -> None:
    pool = BlockPool(4, 4)
    first, second = pool.take(2)
    pool.publish(first, A)
    pool.publish(second, A)
    pool.release([first, second])

    assert [first] == pool.find([A])
    assert (3, 1) == (pool.free, pool.cached)


def test_free_blocks_are_taken_before_cached_ones() -> None:
    pool = BlockPool(3, 4)
    (block,) = pool.take(1)
    pool.publish(block, A)
    pool.release([block])
    pool.take(2)

    assert [block] == pool.find([A])


def test_cached_blocks_are_forgotten_oldest_first_and_tails_before_heads() -> None:
    pool = BlockPool(3, 4)
    blocks = pool.take(3)
    for block, name in zip(blocks, (A, B, C), strict=True):
        pool.publish(block, name)
    pool.release(blocks[2:])  # C goes first, then the chain A, B
    pool.release(blocks[:2])

    assert [blocks[2]] == pool.take(1)
    assert [blocks[1]] == pool.take(1)
    assert [blocks[0]] == pool.find([A, B])


@pytest.mark.parametrize("tables", [[], [[0, 1, 2]], [[0, 1], [1]], [[0, 3]]])
def test_the_check_sees_tables_that_hold_other_blocks(tables: list[list[int]]) -> None:
    pool = BlockPool(4, 4)
    pool.take(2)  # 0 and 1

    pool.check([[0], [1]])
    with pytest.raises(InternalError):
        pool.check(tables)


@pytest.mark.parametrize("name", [None, B])
def test_the_check_sees_a_cached_block_under_another_name(name: bytes | None) -> None:
    pool = BlockPool(4, 4)
    (block,) = pool.take(1)
    pool.publish(block, A)
    pool.release([block])
    pool._digests[block] = name  # no way leads there; the check is for the faults to come

    with pytest.raises(InternalError, match="differ"):
        pool.check([])


class PoolMachine(RuleBasedStateMachine):
    """Random tables of random chains, beside the plainest possible model of what is known."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(12, 2)
        self.tables: list[tuple[list[int], list[bytes]]] = []
        self.content: dict[int, bytes] = {}  # what was last published from each block

    @rule(count=st.integers(0, 4), branch=st.integers(0, 2))
    def take(self, count: int, branch: int) -> None:
        names: list[bytes] = []
        for _ in range(count):
            names.append(digest(names[-1] if names else b"", [branch, 0]))
        shared = self.pool.find(names)
        assert names[: len(shared)] == [self.content[block] for block in shared]
        idle = sum(not self.pool.is_used(block) for block in shared)
        if count - len(shared) > self.pool.available - idle:
            return
        self.pool.share(shared)
        fresh = self.pool.take(count - len(shared))
        assert not {*fresh} & {block for table, _ in self.tables for block in table}
        for block, name in zip(fresh, names[len(shared) :], strict=True):
            self.content[block] = name
            self.pool.publish(block, name)
        self.tables.append((shared + fresh, names))

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.tables) - 1))
        table, _ = self.tables.pop(index)
        self.pool.release(table)

    @invariant()
    def everything_adds_up(self) -> None:
        self.pool.check(table for table, _ in self.tables)
        assert 12 == self.pool.free + self.pool.cached + self.pool.used

    def teardown(self) -> None:
        for table, _ in self.tables:
            self.pool.release(table)
        self.pool.check([])
        assert 12 == self.pool.available


TestRandomOperations = PoolMachine.TestCase
TestRandomOperations.settings = settings(
    max_examples=60, stateful_step_count=40, derandomize=True, database=None
)
