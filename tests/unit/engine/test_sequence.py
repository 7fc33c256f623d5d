"""A sequence knows its ids, the row it becomes, and when it has ended."""

import pytest

from r3mes.engine.messages import Finish, Logprob
from r3mes.engine.runner import UNKNOWN
from support.engine import sequence

EOS = {9}


@pytest.mark.parametrize(
    ("start", "stop", "ids"),
    [(0, 2, [1, 2]), (1, 3, [2, 3]), (2, 5, [3, 4, 5]), (3, 5, [4, 5]), (4, 5, [5])],
)
def test_ids_run_on_from_prompt_to_output(start: int, stop: int, ids: list[int]) -> None:
    one = sequence([1, 2, 3])
    one.output = [4, 5]

    assert ids == one.ids(start, stop)


def test_names_of_blocks_are_a_chain_over_prompt_and_output() -> None:
    split, whole = sequence([1, 2, 3]), sequence([1, 2, 3, 4])
    split.output = [4]

    assert whole.names(2, block_size=2) == split.names(2, block_size=2)
    assert whole.names(1, block_size=2) == whole.names(2, block_size=2)[:1]


def test_a_chunk_wishes_for_no_token_and_the_last_one_does() -> None:
    one = sequence([1, 2, 3])

    assert one.row(2).sample is None
    one.computed = 2
    last = one.row(1)
    assert ([3], 2) == (last.tokens, last.start)
    assert last.sample is not None
    assert 3 == last.sample.position


def test_prompt_logprobs_aim_at_the_ids_that_follow() -> None:
    one = sequence([1, 2, 3], prompt_logprobs=0)

    assert ([2, 3], 0) == (one.row(2).targets, one.row(2).prompt_logprobs)
    one.computed = 2
    assert [] == one.row(1).targets


def test_prompt_logprobs_that_are_complete_are_not_wished_for_again() -> None:
    one = sequence([1, 2, 3], prompt_logprobs=0)
    one.prompt_logprobs = [Logprob(2, 0.0, 1, []), Logprob(3, 0.0, 1, [])]
    one.forget()

    assert (None, ()) == (one.row(3).prompt_logprobs, one.row(3).targets)
    assert 2 == len(one.prompt_logprobs)


def test_half_of_the_prompt_logprobs_is_collected_anew_after_a_preemption() -> None:
    one = sequence([1, 2, 3], prompt_logprobs=0)
    one.prompt_logprobs = [Logprob(2, 0.0, 1, [])]
    one.forget()

    assert [] == one.prompt_logprobs


def test_the_last_prompt_logprobs_come_with_the_id_in_flight_whatever_is_lost() -> None:
    one = sequence([1, 2, 3], prompt_logprobs=0)
    one.prompt_logprobs = [Logprob(2, 0.0, 1, [])]
    one.pending = 1
    one.forget()

    assert 1 == len(one.prompt_logprobs)


def test_a_row_in_flight_is_followed_by_one_whose_newest_id_is_unknown() -> None:
    one = sequence([1, 2, 3], prompt_logprobs=0)
    one.launched(one.row(3), place=7)

    row = one.row(1)
    assert ([UNKNOWN], 3, 7, None) == (row.tokens, row.start, row.follows, row.prompt_logprobs)
    assert row.sample is not None
    assert (4, []) == (row.sample.position, row.sample.output)


def test_it_is_full_with_the_id_in_flight() -> None:
    one = sequence([1, 2, 3], limit=4)
    one.launched(one.row(3), place=0)

    assert (True, 0, False) == (one.waits, one.missing, one.decoding)


@pytest.mark.parametrize(
    ("output", "wishes", "finish"),
    [
        ([7], {}, None),
        ([9], {}, "stop"),
        ([7], {"stop_token_ids": (7,)}, "stop"),
        ([9], {"ignore_eos": True}, None),
        ([7], {"ignore_eos": True, "stop_token_ids": (7,)}, "stop"),
        ([9], {"min_tokens": 1}, None),
        ([7, 9], {"min_tokens": 1}, "stop"),
        ([7, 7], {"max_tokens": 2}, "length"),
        ([7, 9], {"max_tokens": 2}, "stop"),
        ([7, 7, 7], {}, "length"),  # the limit is 6 ids
        ([7, 7, 9], {}, "stop"),
    ],
)
def test_it_ends(output: list[int], wishes: dict[str, int], finish: Finish | None) -> None:
    one = sequence([1, 2, 3], limit=6, **wishes)
    one.output = output

    assert finish == one.ending(EOS)
