"""The policy: who runs, with how many tokens, who waits and who gives way."""

import pytest

from r3mes.engine.block_pool import BlockPool
from r3mes.engine.runner import Row
from r3mes.engine.scheduler import Scheduler
from r3mes.engine.sequence import Sequence
from r3mes.errors import InternalError
from support.engine import sequence


def scheduler(*, blocks: int = 64, max_batch: int = 4) -> Scheduler:
    return Scheduler(BlockPool(blocks, 4), max_batch=max_batch, prefix_cache=True)


class Stepper:
    """Steps whose every chosen id is 0. What is launched lands within its step or, `ahead`, after
    the launch of the next."""

    def __init__(self, *, ahead: bool) -> None:
        self.lag = int(ahead)
        self.flights: list[list[tuple[Sequence, Row, int]]] = []

    def __call__(self, policy: Scheduler) -> dict[int, int]:
        """Returns tokens fed by stream."""
        plan = policy.schedule(now=1.0, chunk=16, draft=lambda sequence: [])
        rows = [(each, each.row(count), each.preemptions) for each, count in plan.items()]
        for place, (each, row, _) in enumerate(rows):
            each.launched(row, place=place)
        self.flights.append(rows)
        self.land(policy, most=self.lag)
        policy.check()
        return {each.key[1]: count for each, count in plan.items()}

    def land(self, policy: Scheduler, *, most: int = 0) -> None:
        """Until so many flights are left."""
        while len(self.flights) > most:
            for each, row, preemptions in self.flights.pop(0):
                if each.state == "finished":
                    continue
                if row.sample:
                    each.pending -= 1
                    each.output.append(0)
                if each.preemptions == preemptions:
                    policy.advance(each, start=row.start, stop=row.start + row.known)


@pytest.fixture(params=[False, True], ids=["in step", "ahead"])
def step(request: pytest.FixtureRequest) -> Stepper:
    return Stepper(ahead=request.param)


def add(policy: Scheduler, *lengths: int, first: int = 0) -> list[Sequence]:
    """Sequences with prompts that have nothing in common; streams count up."""
    new = [
        sequence([1 + stream] * length, stream=stream, queued=stream)
        for stream, length in enumerate(lengths, start=first)
    ]
    for each in new:
        policy.add(each)
    return new


def test_prompts_are_finished_in_order_of_arrival(step: Stepper) -> None:
    policy = scheduler()
    add(policy, 20, 20, 4)

    assert {0: 16} == step(policy)
    assert {0: 4, 1: 12} == step(policy)
    assert {0: 1, 1: 8, 2: 4} == step(policy)
    assert {0: 1, 1: 1, 2: 1} == step(policy)


def test_decoding_rows_do_not_use_the_budget_of_prompts(step: Stepper) -> None:
    policy = scheduler()
    add(policy, 4)
    step(policy)
    add(policy, 40, first=1)

    assert {0: 1, 1: 16} == step(policy)


def test_prompts_that_could_be_fed_are_those_in_the_batch_and_those_with_a_seat(
    step: Stepper,
) -> None:
    policy = scheduler(max_batch=3)
    add(policy, 4)
    step(policy)
    step.land(policy)
    assert 0 == policy.prompts
    add(policy, 40, 4, 4, 4, first=1)
    assert 2 == policy.prompts
    step(policy)

    assert (2, 1, 3) == (policy.prompts, policy.seats, len(policy.waiting))


def test_a_prompt_that_finds_no_blocks_could_not_be_fed(step: Stepper) -> None:
    policy = scheduler(blocks=12)
    add(policy, 4, 20, 40, 4)  # one block and one to grow, five, ten that are not left

    assert 2 == policy.prompts


def test_one_whose_last_id_is_in_flight_has_no_prompt_to_feed() -> None:
    policy, step = scheduler(), Stepper(ahead=True)
    policy.add(sequence([1, 2, 3], max_tokens=1))
    step(policy)

    assert (1, 0) == (len(policy.running), policy.prompts)


def test_a_chunk_is_counted_when_it_does_not_finish_its_prompt(step: Stepper) -> None:
    policy = scheduler()
    add(policy, 40, 4)
    for _ in range(4):
        step(policy)

    assert 2 == policy.chunks


def test_the_batch_has_a_limit_and_the_next_in_line_takes_a_free_seat(step: Stepper) -> None:
    policy = scheduler(max_batch=2)
    first, *_ = add(policy, 2, 2, 2)
    step(policy)

    assert {0: 1, 1: 1} == step(policy)
    policy.remove(first)
    assert {1: 1, 2: 2} == step(policy)


def test_a_known_prefix_is_not_computed_again(step: Stepper) -> None:
    policy = scheduler()
    one, two = sequence([1] * 10, stream=1), sequence([1] * 8 + [2] * 2, stream=2)
    policy.add(one)
    step(policy)
    step.land(policy)
    policy.add(two)

    assert {1: 1, 2: 2} == step(policy)
    assert one.blocks[:2] == two.blocks[:2]
    assert (8, 12) == (policy.prefix_hits, policy.prefix_misses)
    assert (0, 8) == (one.cached_tokens, two.cached_tokens)


def test_the_last_id_of_a_prompt_is_computed_even_if_all_of_it_is_known(step: Stepper) -> None:
    policy = scheduler()
    for stream in (1, 2):
        policy.add(sequence([1] * 8, stream=stream))
        fed = step(policy)
        step.land(policy)

    assert {1: 1, 2: 4} == fed


def test_a_wish_for_prompt_logprobs_reuses_nothing(step: Stepper) -> None:
    policy = scheduler()
    policy.add(sequence([1] * 8, stream=1))
    step(policy)
    policy.add(sequence([1] * 8, stream=2, prompt_logprobs=0))

    assert {1: 1, 2: 8} == step(policy)


def test_without_a_prefix_cache_nothing_is_shared(step: Stepper) -> None:
    policy = Scheduler(BlockPool(64, 4), max_batch=4, prefix_cache=False)
    policy.add(sequence([1] * 8, stream=1))
    step(policy)
    policy.add(sequence([1] * 8, stream=2))

    assert {1: 1, 2: 8} == step(policy)
    assert 0 == policy.prefix_hits


def test_output_can_be_reused_as_the_prefix_of_the_next_turn(step: Stepper) -> None:
    policy = scheduler()
    (one,) = add(policy, 4)
    for _ in range(5):
        step(policy)
    step.land(policy)
    turn = sequence([*one.prompt, *one.output[:5]], stream=1)
    policy.remove(one)
    policy.add(turn)

    assert {1: 1} == step(policy)
    assert 8 == turn.cached_tokens


def test_a_prompt_waits_until_there_is_room_for_all_of_it(step: Stepper) -> None:
    policy = scheduler(blocks=8)
    first, _ = add(policy, 16, 16)

    assert {0: 16} == step(policy)
    assert {0: 1} == step(policy)  # 5 blocks of 8, and one more is kept for its growth
    policy.remove(first)
    assert {1: 16} == step(policy)


def test_a_small_newcomer_does_not_pass_a_large_one_that_waits(step: Stepper) -> None:
    policy = scheduler(blocks=8)
    add(policy, 16, 16, 1)
    step(policy)

    assert {0: 1} == step(policy)


def test_the_newest_gives_way_when_blocks_run_out_and_comes_back_first(step: Stepper) -> None:
    policy = scheduler(blocks=6)
    old, new = add(policy, 7, 7)
    add(policy, 7, first=2)
    while not policy.preemptions:
        step(policy)

    assert ("running", "waiting") == (old.state, new.state)
    assert [1, 2] == [each.key[1] for each in policy.waiting]
    assert (0, 1) == (old.preemptions, new.preemptions)
    assert ([], 0) == (new.blocks, new.computed)


def test_the_preempted_computes_prompt_and_output_again(step: Stepper) -> None:
    policy = scheduler(blocks=6)
    old, new = add(policy, 7, 7)
    while not policy.preemptions:
        step(policy)
    written = list(new.output)
    policy.remove(old)
    step.land(policy)

    fed = step(policy)
    step.land(policy)
    known = new.computed - fed[1]
    assert 7 + len(new.output) - 1 == known + fed[1]
    assert written == new.output[: len(written)]


def test_what_is_computed_again_does_not_count_as_a_prefix_hit(step: Stepper) -> None:
    policy = scheduler(blocks=6)
    old, new = add(policy, 7, 7)
    while not policy.preemptions:
        step(policy)
    policy.remove(old)
    step(policy)

    assert (0, 14, 0) == (policy.prefix_hits, policy.prefix_misses, new.cached_tokens)


def test_who_gives_way_while_an_id_is_chosen_comes_back_once_that_is_known() -> None:
    step, policy = Stepper(ahead=True), scheduler(blocks=6)
    old, new = add(policy, 7, 7)
    while not policy.preemptions:
        step(policy)
    new.pending += 1  # as if it were still in flight
    policy.remove(old)

    assert {} == step(policy)
    new.pending -= 1
    assert [1] == list(step(policy))


@pytest.mark.parametrize("wishes", [{"max_tokens": 1}, {"presence_penalty": 0.5}])
def test_who_needs_the_id_in_flight_is_not_fed_before_it_is_known(wishes: dict[str, float]) -> None:
    step, policy = Stepper(ahead=True), scheduler()
    policy.add(sequence([1] * 4, **wishes))
    (other,) = add(policy, 4, first=1)

    assert {0: 4, 1: 4} == step(policy)
    assert (1, 1) == (policy.decoding, other.pending)
    assert {1: 1} == step(policy)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_removed_sequence_leaves_no_block_behind(step: Stepper, steps: int) -> None:
    policy = scheduler()
    (one,) = add(policy, 20)
    for _ in range(steps):
        step(policy)
    policy.remove(one)
    policy.check()

    assert 0 == policy.pool.used
    assert {} == step(policy)


def test_the_check_sees_a_lost_order() -> None:
    policy = scheduler()
    policy.add(sequence([1], queued=2.0))
    policy.add(sequence([1], queued=1.0))

    with pytest.raises(InternalError, match="order"):
        policy.check()


def test_the_check_sees_blocks_of_a_sequence_that_waits() -> None:
    policy = scheduler()
    (one,) = add(policy, 4)
    one.blocks = policy.pool.take(1)

    with pytest.raises(InternalError, match="waiting"):
        policy.check()


def test_the_check_sees_a_batch_that_is_too_large(step: Stepper) -> None:
    policy = scheduler(max_batch=2)
    add(policy, 4, 4)
    step(policy)
    policy.max_batch = 1

    with pytest.raises(InternalError, match="too large"):
        policy.check()
