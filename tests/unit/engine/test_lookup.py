"""Drafts from what stood before, how many of them pay, and that answers stay what they are."""

import math

import pytest

from r3mes.engine.lookup import HOPED, MOST, Lookup, worth
from r3mes.engine.pace import Pace
from support.engine import FakeEngine, answer, eager

AGAIN = {65: 100.0}  # the fake says `A` for ever


def test_what_followed_the_same_ids_is_drafted() -> None:
    assert [4, 5, 1] == Lookup().draft([1, 2, 3, 4, 5, 1, 2, 3], 3)


def test_what_goes_round_is_drafted_to_go_on() -> None:
    assert [1, 2, 3, 1, 2, 3, 1] == Lookup().draft([1, 2, 3, 1, 2, 3], 7)


def test_the_newest_place_is_gone_by() -> None:
    assert [9] == Lookup().draft([1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], 1)


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 3], [1, 2, 3, 4], [1, 2, 9, 1, 2]])
def test_nothing_is_drafted_from_ids_that_are_new(ids: list[int]) -> None:
    assert [] == Lookup().draft(ids, 4)


def test_ids_that_were_added_are_known_next_time() -> None:
    lookup = Lookup()
    lookup.draft([1, 2, 3, 4], 2)

    assert [4, 1] == lookup.draft([1, 2, 3, 4, 1, 2, 3], 2)


def test_drafts_that_fail_lower_the_share_and_rest_brings_it_back() -> None:
    lookup = Lookup()
    lookup.record(drafted=4, accepted=0)
    failed = lookup.share
    for _ in range(200):
        lookup.record(drafted=0, accepted=0)

    assert failed < HOPED
    assert HOPED == pytest.approx(lookup.share, abs=0.02)


def test_as_many_are_worth_it_as_save_more_than_they_cost() -> None:
    assert MOST == worth(0.9, token_cost=0.0, token_gain=1.0)
    assert 2 == worth(0.5, token_cost=0.2, token_gain=1.0)
    assert 0 == worth(0.9, token_cost=1.0, token_gain=1.0)
    assert 0 == worth(0.9, token_cost=math.inf, token_gain=1.0)
    assert 0 == worth(0.0, token_cost=0.0, token_gain=1.0)


def test_without_measurements_nothing_is_worth_it() -> None:
    assert math.inf == Pace(64).token_cost(1)


def test_the_cost_of_a_token_is_that_of_a_step_with_twice_the_streams() -> None:
    pace = Pace(64, _steps={1: 1.0, 2: 1.5, 3: 2.5})

    assert (0.5, 0.5) == (pace.token_cost(1), pace.token_cost(2))
    assert (1.0, 0.75) == (pace.token_gain(1), pace.token_gain(2))
    assert math.inf == pace.token_cost(4)


def test_a_repeating_answer_takes_fewer_steps_and_is_the_same() -> None:
    plain, fast = FakeEngine(prompt_lookup=False), FakeEngine(pace=eager())
    for fake in (plain, fast):
        fake.submit(1, [1, 2, 3], max_tokens=40, logit_bias=AGAIN, logprobs=1)
        fake.finish()

    assert [65] * 40 == plain.ledger.ids(1) == fast.ledger.ids(1)
    assert len(fast.steps) < len(plain.steps) / 2
    logprobs = [entry.token for it in fast.ledger.updates["w", 1] for entry in it.logprobs or []]
    assert [65] * 40 == logprobs
    assert fast.engine.stats.drafts["accepted"] > 20


def test_drafts_that_are_wrong_change_nothing_and_free_their_blocks() -> None:
    fake = FakeEngine(pace=eager())
    prompt = [7, 8, 9, 7, 8, 9, 7, 8, 9] * 3
    fake.submit(1, prompt, max_tokens=30, logit_bias={})
    fake.finish()

    assert answer(prompt, 30) == fake.ledger.ids(1)


def test_a_stop_token_within_the_drafts_ends_the_answer_there() -> None:
    fake = FakeEngine(pace=eager())
    fake.submit(1, [65] * 9, max_tokens=40, logit_bias=AGAIN, stop_token_ids=(65,), min_tokens=20)
    fake.finish()

    last = fake.ledger.last(1)
    assert ("stop", 65) == (last.finish, last.stop_token)
    assert 65 == fake.ledger.ids(1)[-1]


@pytest.mark.parametrize("blocks", range(13, 22))
def test_drafts_take_no_block_that_others_need(blocks: int) -> None:
    """One is far ahead when the other comes, which is short: both fit as long as nobody drafts."""

    def served(*, drafting: bool) -> FakeEngine:
        fake = FakeEngine(pace=eager(), kv_blocks=blocks, block_size=2, prompt_lookup=drafting)
        fake.submit(1, [65] * 6, max_tokens=16, logit_bias=AGAIN)
        fake.step()
        fake.submit(2, [66, 67, 68, 69], max_tokens=4)
        fake.finish()
        return fake

    plain, fast = served(drafting=False), served(drafting=True)

    assert plain.ledger.ids(1) == fast.ledger.ids(1)
    assert plain.ledger.ids(2) == fast.ledger.ids(2)
    assert fast.engine.stats.preemptions <= plain.engine.stats.preemptions


def test_nothing_is_drafted_where_the_newest_id_is_not_known_in_time() -> None:
    fake = FakeEngine(pace=eager(), ahead=True)
    fake.submit(1, [65] * 9, max_tokens=20, logit_bias=AGAIN)
    fake.finish()

    assert [65] * 20 == fake.ledger.ids(1)
    assert {"accepted": 0, "rejected": 0} == fake.engine.stats.drafts


def test_it_can_be_turned_off() -> None:
    fake = FakeEngine(pace=eager(), prompt_lookup=False)
    fake.submit(1, [65] * 9, max_tokens=20, logit_bias=AGAIN)
    fake.finish()

    assert {"accepted": 0, "rejected": 0} == fake.engine.stats.drafts
