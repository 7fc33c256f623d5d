"""Dashboard and alerts ask for metrics, labels and values that a replica really shows."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from r3mes.errors import R3mesError
from support import observability
from support.replica import Replica

OF_THE_SCRAPE = {"namespace", "job", "instance", "pod"}  # labels that Prometheus adds
Page = dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def page(seen_replica: Replica) -> Page:
    """The values of each label of each sample."""
    shown: Page = {"up": {}}
    for family in text_string_to_metric_families(seen_replica.probe("/metrics").text):
        for sample in family.samples:
            labels = shown.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return shown


def codes(error: type[R3mesError] = R3mesError) -> set[str]:
    return {error.code}.union(*map(codes, error.__subclasses__()))


def test_every_metric_is_on_the_page(page: Page) -> None:
    assert [] == [
        (place, asked.metric)
        for place, query in observability.queries().items()
        for asked in observability.selectors(query)
        if asked.metric not in page
    ]


def test_every_label_is_one_of_its_metric(page: Page) -> None:
    assert [] == [
        (place, asked.metric, label)
        for place, query in observability.queries().items()
        for asked in observability.selectors(query)
        for label in asked.labels
        if label not in OF_THE_SCRAPE | set(page[asked.metric])
    ]


def test_every_value_of_a_label_can_come(page: Page) -> None:
    assert [] == [
        (place, asked.metric, label, value)
        for place, query in observability.queries().items()
        for asked in observability.selectors(query)
        for label, values in asked.labels.items()
        for value in values
        if label not in OF_THE_SCRAPE
        and value not in {"", *page[asked.metric][label]}
        and not (label == "error_type" and value in codes())
    ]


def test_every_label_that_is_grouped_by_is_there(page: Page) -> None:
    for place, query in observability.queries().items():
        there = OF_THE_SCRAPE.union(*(page[it.metric] for it in observability.selectors(query)))

        assert observability.kept_labels(query) <= there, place


def test_every_legend_names_labels_that_are_left() -> None:
    for query, legend in observability.legends():
        named = set(re.findall(r"{{(\w+)}}", legend))

        assert named <= observability.kept_labels(query), legend


def test_a_metric_that_nobody_has_would_be_found(page: Page) -> None:
    (asked,) = observability.selectors('sum by (kind) (rate(r3mes_made_up_total{kind="a|b"}[5m]))')

    assert ("r3mes_made_up_total", {"kind": ["a", "b"]}) == asked
    assert asked.metric not in page
