"""What fails in the runner ends the requests concerned, and the engine only if it goes on."""

import pytest

from r3mes.engine.runner import Batch, Flight, Landed, RowResult
from r3mes.errors import EngineCrash
from support.engine import FakeEngine


class Brittle:
    """Fails whole batches, or single rows, as it is told."""

    num_blocks, vocab_size, ahead = 64, 259, False

    def __init__(self, *, broken: set[int]) -> None:
        self.broken = broken  # passes that raise
        self.passes = 0
        self.bad_prompt: list[int] = []

    def launch(self, batch: Batch) -> Flight:
        self.passes += 1
        if self.passes in self.broken:
            raise ArithmeticError("the device is on fire")
        return Landed(
            [
                RowResult(error="not finite")
                if list(row.tokens) == self.bad_prompt
                else RowResult((65,))
                for row in batch.rows
            ]
        )


def test_a_failing_row_ends_alone() -> None:
    runner = Brittle(broken=set())
    runner.bad_prompt = [6, 6]
    fake = FakeEngine(runner=runner)
    fake.submit(1, [6, 6])
    fake.submit(2, [5], max_tokens=2)
    fake.finish()

    assert ("error", "internal_error") == (fake.ledger.last(1).finish, fake.ledger.last(1).error)
    assert "not finite" not in (fake.ledger.last(1).message or "")
    assert [65, 65] == fake.ledger.ids(2)
    assert {"error": 1} == fake.engine.stats.aborts


def test_a_failing_batch_ends_its_rows_and_the_engine_goes_on() -> None:
    fake = FakeEngine(runner=Brittle(broken={1}), max_batch=1)
    fake.submit(1, [1])
    fake.submit(2, [2], max_tokens=2)
    fake.finish()

    assert "internal_error" == fake.ledger.last(1).error
    assert [65, 65] == fake.ledger.ids(2)


def test_three_failing_batches_in_a_row_end_the_engine() -> None:
    fake = FakeEngine(runner=Brittle(broken={1, 2, 4, 5, 6}), max_batch=1)
    for stream in range(6):
        fake.submit(stream, [1], max_tokens=1)
    fake.step(5)

    with pytest.raises(EngineCrash):
        fake.step()
    assert "internal_error" == fake.ledger.last(5).error
