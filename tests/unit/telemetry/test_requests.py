"""Which numbers a request changes."""

from dataclasses import replace

from r3mes.telemetry import names
from r3mes.telemetry.names import Instrument
from r3mes.telemetry.report import RequestReport
from r3mes.telemetry.requests import Change, changes
from support.reports import GOOD


def found(report: RequestReport, instrument: Instrument) -> list[Change]:
    return [change for change in changes(report) if change.instrument is instrument]


def test_a_good_request_is_counted_with_its_route_status_and_finish() -> None:
    assert [Change(names.REQUESTS, ("/v1/completions", "200", "stop"), 1)] == found(
        GOOD, names.REQUESTS
    )


def test_an_unknown_path_is_folded_into_one_label() -> None:
    lost = replace(GOOD, route=None, status=404, operation=None, finish_reasons=())

    assert [Change(names.REQUESTS, ("other", "404", ""), 1)] == list(changes(lost))


def test_times_are_taken_between_the_stamps() -> None:
    assert [2.0] == [change.value for change in found(GOOD, names.QUEUE)]
    assert [3.0] == [change.value for change in found(GOOD, names.PREFILL)]
    assert [4.0] == [change.value for change in found(GOOD, names.DECODE)]
    assert [6.0] == [change.value for change in found(GOOD, names.TTFT)]
    assert [11.0] == [change.value for change in found(GOOD, names.DURATION)]


def test_each_gap_between_tokens_counts_with_the_mean_of_its_request() -> None:
    assert [(1.0, 4)] == [(gap.value, gap.weight) for gap in found(GOOD, names.INTER_TOKEN)]


def test_choices_run_side_by_side() -> None:
    two = replace(GOOD, choices=2, completion_tokens=10)

    assert [(1.0, 8)] == [(gap.value, gap.weight) for gap in found(two, names.INTER_TOKEN)]


def test_a_refused_request_spends_no_tokens_and_has_no_first_token() -> None:
    refused = replace(GOOD, status=503, error_type="server_overloaded")

    assert [] == found(refused, names.TOKENS)
    assert [] == found(refused, names.TTFT)
    assert ["server_overloaded"] == [change.labels[1] for change in found(refused, names.DURATION)]


def test_a_client_that_left_pays_for_what_was_delivered() -> None:
    left = replace(GOOD, status=499)

    assert [("prompt", 7), ("generated", 5)] == [
        (change.labels[0], change.value) for change in found(left, names.TOKENS)
    ]
    assert ["client_gone"] == [change.labels[1] for change in found(left, names.DURATION)]


def test_only_a_sampled_request_leaves_an_exemplar() -> None:
    sampled = replace(GOOD, trace=replace(GOOD.trace, sampled=True))

    assert [""] == [change.trace_id for change in found(GOOD, names.TTFT)]
    assert [GOOD.trace.trace_id] == [change.trace_id for change in found(sampled, names.TTFT)]
