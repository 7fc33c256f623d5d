"""How long a client is willing to wait."""

import time

import pytest
from starlette.datastructures import Headers

from r3mes.errors import DeadlineExceeded, InvalidRequest
from r3mes.replica.deadline import HEADER, HINT, deadline_of


def budget(headers: dict[str, str], *, stream: bool = False) -> float:
    return deadline_of(Headers(headers), longest=600, stream=stream) - time.monotonic()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 600),
        ({HEADER: "2.5"}, 2.5),
        ({HEADER: "9999"}, 600),
        ({HINT: "30"}, 30),
        ({HINT: "soon"}, 600),
        ({HINT: "0"}, 600),
        ({HEADER: "5", HINT: "30"}, 5),
    ],
)
def test_the_shortest_patience_counts(headers: dict[str, str], seconds: float) -> None:
    assert seconds == pytest.approx(budget(headers), abs=1)


def test_a_stream_s_reads_are_short_so_the_hint_says_nothing() -> None:
    assert 600 == pytest.approx(budget({HINT: "30"}, stream=True), abs=1)


@pytest.mark.parametrize("text", ["soon", "-1", "", "nan", "inf", "1e400"])
def test_a_deadline_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        budget({HEADER: text})


def test_no_time_left_is_no_time_left() -> None:
    with pytest.raises(DeadlineExceeded):
        budget({HEADER: "0"})
