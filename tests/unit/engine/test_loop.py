"""The engine with the fake runner: every stream gets what it would get alone, and ends once."""

from collections.abc import Callable
from functools import partial

import pytest

from r3mes.engine.fake import EOS
from r3mes.engine.messages import Finish
from support.engine import FakeEngine, answer

Make = Callable[..., FakeEngine]


@pytest.fixture(params=[False, True], ids=["in step", "ahead"])
def engine(request: pytest.FixtureRequest) -> Make:
    """Makes engines whose runner lets each batch land at once, or runs ahead."""
    return partial(FakeEngine, ahead=request.param)


def test_a_stream_gets_one_update_a_token_and_its_finish_with_the_last(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1, 2, 3], max_tokens=3)
    fake.finish()

    updates = fake.ledger.updates["w", 1]
    assert answer([1, 2, 3], 3) == fake.ledger.ids(1)
    assert [None, None, "length"] == [update.finish for update in updates]


def test_stamps_come_with_the_first_token_and_with_the_end(engine: Make) -> None:
    fake = engine()
    fake.clock.now = 1.0
    fake.submit(1, [1, 2, 3], max_tokens=3)
    for _ in range(3 + fake.lag):
        fake.clock.now += 1
        fake.step()

    first, middle, last = (update.stamps for update in fake.ledger.updates["w", 1])
    assert middle is None
    assert first is not None
    assert last is not None
    assert (1, 2, 2 + fake.lag, None) == (
        first.queued,
        first.scheduled,
        first.first_token,
        first.finished,
    )
    assert (2 + fake.lag, 4 + fake.lag) == (last.first_token, last.finished)


def test_a_worker_gets_one_delivery_a_step_with_all_its_news(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1])
    fake.submit(2, [2])
    fake.submit(1, [3], worker="other")
    fake.step(1 + fake.lag)

    assert [("w", 2), ("other", 1)] == [
        (worker, len(delivery.updates)) for worker, delivery in fake.ledger.deliveries
    ]


def test_streams_of_two_workers_may_have_the_same_number(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1], worker="a")
    fake.submit(1, [1, 2], worker="b")
    fake.finish()

    assert answer([1], 8) == fake.ledger.ids(1, worker="a")
    assert answer([1, 2], 8) == fake.ledger.ids(1, worker="b")


def test_a_batch_of_chunked_and_shared_prompts_gives_what_each_gives_alone(engine: Make) -> None:
    fake = engine()
    prompts = [[1] * (5 + 9 * index) for index in range(8)]
    for stream, prompt in enumerate(prompts):
        fake.submit(stream, prompt, seed=stream, max_tokens=20)
    fake.finish()

    for stream, prompt in enumerate(prompts):
        assert answer(prompt, 20, seed=stream) == fake.ledger.ids(stream)
    assert fake.engine.stats.chunks > 0
    assert fake.engine.stats.prefix_hits > 0


def test_a_preempted_stream_gets_every_token_once(engine: Make) -> None:
    fake = engine(kv_blocks=8)
    for stream in range(3):
        fake.submit(stream, [stream] * 5, max_tokens=20)
    fake.finish()

    assert fake.engine.stats.preemptions > 0
    for stream in range(3):
        assert answer([stream] * 5, 20) == fake.ledger.ids(stream)
    preemptions = [fake.ledger.last(stream).stamps for stream in range(3)]
    assert fake.engine.stats.preemptions == sum(each.preemptions for each in preemptions if each)
    assert preemptions[0] is not None
    assert 0 == preemptions[0].preemptions  # the oldest never gives way


@pytest.mark.parametrize(
    ("wishes", "finish", "stop_token", "count"),
    [
        ({}, "length", None, 8),
        ({"logit_bias": {EOS: 100.0}}, "stop", EOS, 1),
        ({"logit_bias": {EOS: 100.0}, "min_tokens": 3}, "stop", EOS, 4),
        ({"logit_bias": {EOS: 100.0}, "ignore_eos": True}, "length", None, 8),
        ({"stop_token_ids": (answer([1], 3)[2],)}, "stop", answer([1], 3)[2], 3),
    ],
)
def test_a_stream_ends(
    engine: Make, wishes: dict[str, object], finish: Finish, stop_token: int | None, count: int
) -> None:
    fake = engine()
    fake.submit(1, [1], **wishes)
    fake.finish()

    last = fake.ledger.last(1)
    assert (finish, stop_token) == (last.finish, last.stop_token)
    assert count == len(fake.ledger.ids(1))


def test_a_stream_ends_where_the_models_context_ends(engine: Make) -> None:
    fake = engine(max_len=16)
    fake.submit(1, [1] * 10, max_tokens=100)
    fake.finish()

    assert (6, "length") == (len(fake.ledger.ids(1)), fake.ledger.last(1).finish)


def test_a_stream_that_fills_the_whole_cache_alone_ends_there(engine: Make) -> None:
    fake = engine(kv_blocks=4)
    fake.submit(1, [1] * 10, max_tokens=100)
    fake.submit(2, [2] * 10, max_tokens=3)
    fake.finish()

    assert (6, "length") == (len(fake.ledger.ids(1)), fake.ledger.last(1).finish)
    assert (3, "length") == (len(fake.ledger.ids(2)), fake.ledger.last(2).finish)


def test_a_prompt_larger_than_the_cache_is_refused(engine: Make) -> None:
    fake = engine(kv_blocks=4)
    fake.submit(1, [1] * 16)
    fake.finish()

    last = fake.ledger.last(1)
    assert ("error", "context_length_exceeded") == (last.finish, last.error)
    assert "KV cache" in (last.message or "")


def test_prompt_logprobs_come_once_whole_and_with_the_first_token(engine: Make) -> None:
    fake = engine()
    prompt = list(range(40))
    fake.submit(1, prompt, max_tokens=2, prompt_logprobs=1)
    fake.finish()

    first, second = fake.ledger.updates["w", 1]
    assert first.prompt_logprobs is not None
    assert first.prompt_logprobs[0] is None
    assert prompt[1:] == [each.token for each in first.prompt_logprobs if each]
    assert second.prompt_logprobs is None


@pytest.mark.parametrize("alternatives", [0, 3])
def test_prompt_logprobs_survive_a_preemption_whole(engine: Make, alternatives: int) -> None:
    fake, alone = engine(kv_blocks=10, chunk_tokens=16), engine()
    fake.submit(1, [1] * 3, max_tokens=30)
    fake.step()
    for engine in (fake, alone):
        engine.submit(2, list(range(24)), max_tokens=12, prompt_logprobs=alternatives)
        engine.finish()

    stamps = fake.ledger.last(2).stamps
    assert stamps is not None
    assert stamps.preemptions > 0
    (whole,) = [
        update.prompt_logprobs for update in fake.ledger.updates["w", 2] if update.prompt_logprobs
    ]
    assert list(range(1, 24)) == [each.token for each in whole if each]
    assert alone.ledger.updates["w", 2][0].prompt_logprobs == whole


def test_with_no_token_wanted_the_prompt_is_read_and_that_is_all(engine: Make) -> None:
    fake = engine()
    fake.submit(1, list(range(20)), max_tokens=0, prompt_logprobs=0)
    fake.finish()

    (update,) = fake.ledger.updates["w", 1]
    assert ([], "length") == (update.ids, update.finish)
    assert 20 == len(update.prompt_logprobs or [])


def test_logprobs_come_with_their_ids(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1], logprobs=0, max_tokens=2)
    fake.submit(2, [1], max_tokens=2)
    fake.finish()

    assert answer([1], 2) == [
        each.token for update in fake.ledger.updates["w", 1] for each in update.logprobs or []
    ]
    assert {None} == {update.logprobs for update in fake.ledger.updates["w", 2]}


def test_a_full_line_refuses_the_next_one_before_the_pass(engine: Make) -> None:
    fake = engine(max_batch=2, max_waiting=3)
    for stream in range(6):
        fake.submit(stream, [stream])
    fake.step()

    (_, refusal), *_ = fake.ledger.deliveries
    assert [(5, "server_overloaded")] == [
        (update.stream, update.error) for update in refusal.updates
    ]
    assert (2, 3) == (fake.engine.stats.running, fake.engine.stats.waiting)
    fake.finish()
    assert answer([4], 8) == fake.ledger.ids(4)


def test_a_request_of_many_choices_is_taken_as_a_whole_or_not_at_all(engine: Make) -> None:
    fake = engine(max_batch=1, max_waiting=2)
    fake.request([1, 2], [7])
    fake.request([3, 4], [7])  # there is room for one of them
    fake.request([5], [7])
    fake.step()

    (_, refusal), *_ = fake.ledger.deliveries
    assert [(3, "server_overloaded"), (4, "server_overloaded")] == [
        (update.stream, update.error) for update in refusal.updates
    ]
    fake.finish()
    assert [answer([7], 8)] * 3 == [fake.ledger.ids(stream) for stream in (1, 2, 5)]


def test_two_choices_cannot_share_the_number_of_a_stream(engine: Make) -> None:
    fake = engine()
    fake.request([1, 1], [7])
    fake.finish()

    assert ["error", "error"] == [update.finish for update in fake.ledger.updates["w", 1]]


def test_a_deadline_ends_a_running_stream_and_frees_its_blocks(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1] * 10, max_tokens=50, deadline=5.0)
    fake.step(3)
    fake.clock.now = 5.0
    fake.step()

    assert ("error", "deadline_exceeded") == (fake.ledger.last(1).finish, fake.ledger.last(1).error)
    assert answer([1] * 10, 3 - fake.lag) == fake.ledger.ids(1)
    assert 0 == fake.engine.stats.blocks_used
    assert {"deadline": 1} == fake.engine.stats.aborts


def test_a_deadline_ends_a_waiting_request_too(engine: Make) -> None:
    fake = engine(max_batch=1)
    fake.submit(1, [1], max_tokens=50)
    fake.submit(2, [2], deadline=5.0)
    fake.submit(3, [3], deadline=9.0)
    fake.step()
    fake.clock.now = 6.0
    fake.step()

    assert "deadline_exceeded" == fake.ledger.last(2).error
    assert 1 == fake.engine.stats.waiting
    fake.clock.now = 9.0
    fake.step()
    assert "deadline_exceeded" == fake.ledger.last(3).error


def test_a_deadline_that_has_passed_already_costs_no_pass(engine: Make) -> None:
    fake = engine()
    fake.clock.now = 5.0
    fake.submit(1, [1], deadline=4.0)
    fake.step()

    assert "deadline_exceeded" == fake.ledger.last(1).error
    assert [] == fake.steps


def test_an_abort_frees_the_blocks_by_the_next_step(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1] * 10)
    fake.submit(2, [2])
    fake.step()
    fake.engine.abort("w", [1, 77])
    fake.step()

    assert "abort" == fake.ledger.last(1).finish
    assert 1 == fake.engine.stats.running
    assert 1 == fake.engine.stats.blocks_used
    assert {"client": 1} == fake.engine.stats.aborts


def test_a_request_is_aborted_in_the_line(engine: Make) -> None:
    fake = engine(max_batch=1)
    fake.submit(1, [1])
    fake.submit(2, [2])
    fake.step()
    fake.engine.abort("w", [2])
    fake.finish()

    assert [] == fake.ledger.ids(2)
    assert answer([1], 8) == fake.ledger.ids(1)


def test_an_abort_concerns_the_senders_streams_only(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1])
    fake.engine.abort("other", [1])
    fake.finish()

    assert answer([1], 8) == fake.ledger.ids(1)


def test_a_dead_workers_streams_end_without_news(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1], worker="dead")
    fake.submit(2, [1], worker="dead")
    fake.submit(1, [1, 2])
    fake.step()
    fake.ledger.deliveries.clear()
    fake.submit(3, [], worker="dead")  # its refusal is not delivered yet
    fake.engine.abort_worker("dead")
    fake.finish()

    assert {"w"} == {worker for worker, _ in fake.ledger.deliveries}
    assert answer([1, 2], 8) == fake.ledger.ids(1)
    assert {"worker_died": 2} == fake.engine.stats.aborts


def test_a_worker_that_cannot_be_reached_can_be_aborted_during_delivery(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1], worker="gone")
    fake.submit(1, [1, 2])
    fake.gone.add("gone")
    fake.finish()

    assert answer([1, 2], 8) == fake.ledger.ids(1)
    assert {"worker_died": 1} == fake.engine.stats.aborts


def test_a_stream_number_in_use_is_refused_and_the_first_goes_on(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1])
    fake.submit(1, [1])
    fake.finish()

    assert "invalid_value" == fake.ledger.updates["w", 1][0].error
    assert answer([1], 8) == fake.ledger.ids(1)


def test_each_forward_pass_is_reported_with_its_kind(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1] * 6, max_tokens=3)
    fake.step(2)
    fake.submit(2, [2] * 5, max_tokens=1)
    fake.step()
    fake.finish()

    assert [("prefill", 6), ("decode", 1), ("mixed", 6)] == [
        (step.kind, step.tokens) for step in fake.steps
    ]


def test_an_idle_step_runs_nothing(engine: Make) -> None:
    fake = engine()
    fake.step()

    assert ([], []) == (fake.steps, fake.ledger.deliveries)


def test_the_snapshot_tells_the_blocks_apart(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1] * 9, max_tokens=1)
    fake.submit(2, [2] * 5, max_tokens=5)
    fake.step(1 + fake.lag)

    stats = fake.engine.stats
    assert (2, 2, 60) == (stats.blocks_used, stats.blocks_cached, stats.blocks_free)


def test_an_abort_is_counted_by_its_reason(engine: Make) -> None:
    fake = engine()
    fake.submit(1, [1], max_tokens=50)
    fake.submit(2, [2], max_tokens=50)
    fake.step()
    fake.engine.abort("w", [1], reason="stop_string")
    fake.engine.abort("w", [2])
    fake.step()

    assert {"stop_string": 1, "client": 1} == fake.engine.stats.aborts
