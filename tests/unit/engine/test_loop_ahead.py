"""The engine with a runner that is ahead: what lands after the next launch is right too."""

from dataclasses import dataclass

import pytest

from r3mes.engine.fake import EOS, FakeRunner
from r3mes.engine.runner import Batch, Flight, RowResult
from support.engine import FakeEngine, ManualClock, answer


@dataclass
class Late:
    """A flight that lands a second after somebody waits for it."""

    flight: Flight
    clock: ManualClock

    def land(self) -> list[RowResult]:
        self.clock.now += 1
        return self.flight.land()


class Slow(FakeRunner):
    clock: ManualClock

    def launch(self, batch: Batch) -> Flight:
        return Late(super().launch(batch), self.clock)


def test_a_pass_lasts_from_the_landing_before_to_its_own() -> None:
    runner = Slow(num_blocks=64, block_size=4, ahead=True)
    fake = FakeEngine(runner=runner)
    runner.clock = fake.clock
    fake.submit(1, [1], max_tokens=4)
    fake.finish()

    assert [1.0] * 4 == [step.seconds for step in fake.steps]


def test_a_stream_aborted_in_flight_frees_its_blocks_at_once_and_harms_nobody() -> None:
    fake = FakeEngine(ahead=True, kv_blocks=5)
    fake.submit(1, [1] * 15, max_tokens=5)
    fake.step(2)
    fake.engine.abort("w", [1])
    fake.submit(2, [2] * 15, max_tokens=5)
    fake.step()

    assert 4 == fake.engine.stats.blocks_used
    fake.finish()
    assert answer([1] * 15, 1) == fake.ledger.ids(1)
    assert answer([2] * 15, 5) == fake.ledger.ids(2)


def test_who_counts_ids_is_in_every_batch_with_the_others() -> None:
    fake = FakeEngine(ahead=True)
    fake.submit(1, [1], max_tokens=4, repetition_penalty=1.5)
    fake.submit(2, [2], max_tokens=6)
    fake.finish()

    assert [2, 2, 2, 2, 1, 1] == [step.tokens for step in fake.steps]


def test_who_count_ids_and_came_one_after_the_other_share_batches() -> None:
    fake = FakeEngine(ahead=True)
    fake.submit(1, [1], max_tokens=6, presence_penalty=0.5)
    fake.step()
    fake.submit(2, [2], max_tokens=6, presence_penalty=0.5)
    fake.finish()

    assert [1, 2, 2, 2, 2, 2, 1] == [step.tokens for step in fake.steps]


@pytest.mark.parametrize(("head", "length"), [(8, 24), (12, 20)])
def test_the_last_prompt_logprobs_under_way_count_for_who_gives_way(head: int, length: int) -> None:
    fake = FakeEngine(kv_blocks=10, ahead=True)
    fake.submit(1, [1] * 3, max_tokens=30)
    fake.step(head)
    fake.submit(2, list(range(length)), max_tokens=5, prompt_logprobs=0)
    fake.finish()

    assert fake.engine.stats.preemptions > 0
    first, *_ = fake.ledger.updates["w", 2]
    assert list(range(1, length)) == [each.token for each in first.prompt_logprobs or [] if each]


def test_a_chunk_under_way_is_lost_to_who_gives_way() -> None:
    fake = FakeEngine(kv_blocks=28, block_size=2, ahead=True)
    fake.submit(1, [1] * 3, max_tokens=30)
    fake.step()
    fake.submit(2, list(range(50)), max_tokens=5, prompt_logprobs=0)
    while not fake.engine.stats.preemptions:
        fake.step()

    assert [] == fake.ledger.ids(2)
    fake.finish()
    first, *_ = fake.ledger.updates["w", 2]
    assert list(range(1, 50)) == [each.token for each in first.prompt_logprobs or [] if each]
    assert answer(list(range(50)), 5) == fake.ledger.ids(2)


def test_a_batch_that_nobody_waits_for_lands_before_the_engine_rests() -> None:
    fake = FakeEngine(ahead=True)
    fake.submit(1, [1], logit_bias={EOS: 100.0})
    fake.step(2)

    assert "stop" == fake.ledger.last(1).finish
    assert fake.engine.busy
    fake.step()
    assert not fake.engine.busy
    assert 2 == len(fake.steps)
