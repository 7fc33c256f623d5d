import pytest

from r3mes.bench.caller import Outcome
from r3mes.bench.figures import Spread, percentile, spread, summarize


def test_a_percentile_lies_between_the_nearest_ranks() -> None:
    values = [4.0, 1.0, 3.0, 2.0]

    assert (1.0, 2.5, 4.0) == (
        percentile(values, 0),
        percentile(values, 50),
        percentile(values, 100),
    )


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert 7.0 == percentile([7.0], 99)


def test_a_spread_of_nothing_is_nothing() -> None:
    assert spread([]) is None


def test_times_are_milliseconds_from_the_start_and_between_pieces() -> None:
    figures = summarize("x", [Outcome(10.0, 12.0, arrivals=(11.0, 11.25, 11.75), output_tokens=3)])

    assert Spread(1000, 1000, 1000) == figures.first_token
    assert figures.inter_token is not None
    assert 375 == figures.inter_token.p50
    assert Spread(2000, 2000, 2000) == figures.whole


def test_rates_are_over_the_time_from_the_first_start_to_the_last_end() -> None:
    figures = summarize(
        "x", [Outcome(0.0, 4.0, output_tokens=10), Outcome(1.0, 5.0, output_tokens=30)]
    )

    assert (5.0, 8.0, 0.4) == (
        figures.seconds,
        figures.output_tokens_per_s,
        figures.requests_per_s,
    )


def test_a_failed_request_counts_as_an_error_of_its_kind_and_adds_no_tokens() -> None:
    figures = summarize(
        "x",
        [
            Outcome(0.0, 1.0, arrivals=(0.5,), output_tokens=10),
            Outcome(0.0, 2.0, arrivals=(0.1,), output_tokens=99, error="cut off"),
            Outcome(0.0, 2.0, error="cut off"),
            Outcome(0.0, 2.0, error="503 server_overloaded"),
        ],
    )

    assert {"cut off": 2, "503 server_overloaded": 1} == figures.errors
    assert 4 == figures.requests
    assert 5.0 == figures.output_tokens_per_s
    assert figures.first_token is not None
    assert 500 == pytest.approx(figures.first_token.p99)


def test_no_outcomes_give_zeros_and_no_times() -> None:
    figures = summarize("x", [])

    assert (0, 0.0, None) == (figures.requests, figures.output_tokens_per_s, figures.first_token)
