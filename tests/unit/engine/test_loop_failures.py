"""What fails in the runner ends the requests concerned, and the engine only if it goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from r3mes.engine.launch import Crashed
from r3mes.engine.runner import Batch, Flight, Landed, RowResult
from r3mes.errors import EngineCrash
from support.engine import FakeEngine


@dataclass
class Brittle:
    """Fails whole batches, or single rows, as it is told."""

    broken: set[int] = field(default_factory=set)  # passes that fail
    ahead: bool = False
    late: bool = False  # a pass that fails does so at its landing
    bad_prompt: list[int] = field(default_factory=list)
    passes: int = 0
    num_blocks: int = 64
    vocab_size: int = 259

    def launch(self, batch: Batch) -> Flight:
        self.passes += 1
        if self.passes in self.broken:
            error = ArithmeticError("the device is on fire")
            if self.late:
                return Crashed(error)
            raise error
        return Landed(
            [
                RowResult(error="not finite")
                if list(row.tokens) == self.bad_prompt
                else RowResult((65,))
                for row in batch.rows
            ]
        )


Make = Callable[..., Brittle]


@pytest.fixture(
    params=[(False, False), (False, True), (True, False), (True, True)],
    ids=["in step", "in step, late", "ahead", "ahead, late"],
)
def brittle(request: pytest.FixtureRequest) -> Make:
    ahead, late = request.param
    return partial(Brittle, ahead=ahead, late=late)


def test_a_failing_row_ends_alone(brittle: Make) -> None:
    fake = FakeEngine(runner=brittle(bad_prompt=[6, 6]))
    fake.submit(1, [6, 6])
    fake.submit(2, [5], max_tokens=2)
    fake.finish()

    assert [("error", "internal_error")] == [
        (update.finish, update.error) for update in fake.ledger.updates["w", 1]
    ]
    assert "not finite" not in (fake.ledger.last(1).message or "")
    assert [65, 65] == fake.ledger.ids(2)
    assert {"error": 1} == fake.engine.stats.aborts


def test_a_failing_batch_ends_its_rows_and_the_engine_goes_on(brittle: Make) -> None:
    fake = FakeEngine(runner=brittle(broken={1}), max_batch=1)
    fake.submit(1, [1])
    fake.submit(2, [2], max_tokens=2)
    fake.finish()

    assert "internal_error" == fake.ledger.last(1).error
    assert [65, 65] == fake.ledger.ids(2)


def test_what_was_chosen_before_a_batch_fails_is_delivered_and_nothing_after(
    brittle: Make,
) -> None:
    fake = FakeEngine(runner=brittle(broken={3}))
    fake.submit(1, [1])
    fake.finish()

    assert [None, None, "error"] == [update.finish for update in fake.ledger.updates["w", 1]]
    assert [65, 65] == fake.ledger.ids(1)


def test_a_stream_that_ends_before_the_batch_fails_that_it_is_in_has_ended_well() -> None:
    fake = FakeEngine(runner=Brittle(broken={3}, ahead=True))
    fake.submit(1, [1], min_tokens=1, stop_token_ids=(65,))
    fake.submit(2, [2])
    fake.finish()

    assert ("stop", [65, 65]) == (fake.ledger.last(1).finish, fake.ledger.ids(1))
    assert ("error", [65, 65]) == (fake.ledger.last(2).finish, fake.ledger.ids(2))


def test_nothing_follows_a_launch_that_crashed() -> None:
    runner = Brittle(broken={3}, ahead=True)
    fake = FakeEngine(runner=runner)
    fake.submit(1, [1])
    fake.finish()

    assert 3 == runner.passes


def test_three_failing_batches_in_a_row_end_the_engine(brittle: Make) -> None:
    runner = brittle(broken={1, 2, 4, 5, 6})
    fake = FakeEngine(runner=runner, max_batch=1)
    for stream in range(6):
        fake.submit(stream, [1], max_tokens=1)

    with pytest.raises(EngineCrash):
        fake.finish()
    assert 6 == runner.passes
    assert "internal_error" == fake.ledger.last(5).error
