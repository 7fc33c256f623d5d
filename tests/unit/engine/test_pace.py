"""How many prompt tokens a step may feed beside running streams."""

import pytest

from r3mes.engine.pace import LEAST, Pace


def measured(*, step_s: float, token_s: float, rows: int = 1, most: int = 512) -> Pace:
    pace = Pace(most)
    pace.record(seconds=step_s, rows=rows, prompt=0)
    pace.record(seconds=100 * token_s, rows=0, prompt=100)
    return pace


@pytest.mark.parametrize(("prompts", "expected"), [(1, 30), (2, 40), (5, 70), (6, 80), (60, 80)])
def test_a_chunk_makes_a_step_longer_the_more_prompts_wait(prompts: int, expected: int) -> None:
    """2.5 times as long as without it with one prompt, and with many five times."""
    assert expected == measured(step_s=0.02, token_s=0.001).chunk(1, prompts)


def test_nobody_who_waits_for_a_token_means_the_whole_chunk() -> None:
    assert 512 == measured(step_s=0.02, token_s=0.001).chunk(0, 3)


def test_what_was_not_measured_bounds_nothing() -> None:
    assert 512 == Pace(512).chunk(3, 3)


@pytest.mark.parametrize(("token_s", "expected"), [(1.0, LEAST), (1e-6, 512)])
def test_a_chunk_has_bounds(token_s: float, expected: int) -> None:
    assert expected == measured(step_s=0.02, token_s=token_s).chunk(1, 3)


def test_the_nearest_number_of_streams_is_gone_by() -> None:
    pace = measured(step_s=0.02, token_s=0.001)
    pace.record(seconds=0.1, rows=16, prompt=0)

    assert (50, 50, 250, 250) == tuple(pace.chunk(rows, 3) for rows in (1, 3, 17, 64))


def test_a_step_with_a_chunk_that_took_as_long_as_expected_changes_nothing() -> None:
    pace = measured(step_s=0.02, token_s=0.001)
    pace.record(seconds=0.05, rows=1, prompt=30)

    assert 50 == pace.chunk(1, 3)


def test_a_cost_that_was_wrong_is_corrected_by_steps_with_chunks_and_without() -> None:
    pace = measured(step_s=0.02, token_s=1.0)
    assert LEAST == pace.chunk(1, 3)
    for _ in range(100):
        pace.record(seconds=0.02 + 0.001 * pace.chunk(1, 3), rows=1, prompt=pace.chunk(1, 3))
        pace.record(seconds=0.02, rows=1, prompt=0)

    assert 49 <= pace.chunk(1, 3) <= 51


def test_whoever_takes_half_of_the_processor_halves_chunks_at_most() -> None:
    """They were 250 tokens; put down to the prompt alone, the delay would make 75 of them."""
    pace = measured(step_s=0.1, token_s=0.001, rows=64)
    for _ in range(100):
        pace.record(
            seconds=2 * (0.1 + 0.001 * pace.chunk(64, 3)), rows=64, prompt=pace.chunk(64, 3)
        )

    assert 130 <= pace.chunk(64, 3) <= 250


def test_steps_that_grew_longer_than_when_they_were_alone_do_not_starve_prompts() -> None:
    """Contexts grow, and prompts may be in every step meanwhile."""
    pace = measured(step_s=0.1, token_s=0.001, rows=64)
    for _ in range(100):
        pace.record(seconds=0.16 + 0.001 * pace.chunk(64, 3), rows=64, prompt=pace.chunk(64, 3))

    assert 200 <= pace.chunk(64, 3)


def test_one_that_stood_still_counts_as_twice_as_long() -> None:
    pace = measured(step_s=0.02, token_s=0.001)
    pace.record(seconds=60, rows=1, prompt=0)
    alone = pace.chunk(1, 3)
    pace.record(seconds=60, rows=1, prompt=alone)

    assert 62 == alone
    assert 45 <= pace.chunk(1, 3) <= 62


def test_a_chunk_beside_streams_tells_nothing_before_both_are_known() -> None:
    pace = Pace(512)
    pace.record(seconds=1.0, rows=1, prompt=64)

    assert 512 == pace.chunk(1, 3)


def test_newer_measurements_count_more_and_one_odd_one_little() -> None:
    pace = measured(step_s=0.02, token_s=0.001)
    pace.record(seconds=0.04, rows=1, prompt=0)
    once = pace.chunk(1, 3)
    for _ in range(20):
        pace.record(seconds=0.04, rows=1, prompt=0)

    assert 62 == once
    assert 99 <= pace.chunk(1, 3) <= 100


def test_a_warm_up_is_not_bounded() -> None:
    pace = measured(step_s=0.02, token_s=0.001)
    pace.learning = True

    assert 512 == pace.chunk(1, 3)
