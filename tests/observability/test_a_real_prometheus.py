"""Every query of dashboard and alerts, asked of a real Prometheus that watches a loaded replica."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import observability
from support.prometheus import JOB, Prometheus, free_port, running_prometheus
from support.replica import Replica, wait_for

WATCH_S = 60
# What holds under a load that no replica could carry; what may, as fast as the machine is.
TRUE = {"R3mesPreemptions", "R3mesQueueDeep", "R3mesRequestsRefused"}
OPEN = {"R3mesCacheFull", "R3mesSlowFirstToken"}


@pytest.fixture(scope="module")
def binary() -> str:
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("no prometheus on PATH (Debian: package prometheus): no query was asked")
    return found


@pytest.fixture
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, binary: str, seen_replica: Replica, load: None
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("watch") / "prometheus"
    rules = observability.ALERTS
    with running_prometheus(folder, binary, seen_replica.url, rules=rules) as running:
        yield running


def test_every_query_returns_data_under_load(prometheus: Prometheus) -> None:
    silent = {
        f"{title}: {query}": observability.chosen(query, interval="15s")
        for title, queries in observability.panels().items()
        for query in queries
    }

    def answered() -> bool:
        for place, query in list(silent.items()):
            if numbers(prometheus.query(query)):
                del silent[place]
        return not silent

    try:
        wait_for(answered, "data", within=WATCH_S)
    finally:
        assert [] == list(silent)
    assert_variables_know_it(prometheus)
    assert_alerts_are_right(prometheus)


def assert_variables_know_it(prometheus: Prometheus) -> None:
    (shown,) = prometheus.query("r3mes_build_info")

    assert ("ml", JOB) == (shown["metric"]["namespace"], shown["metric"]["job"])


def assert_alerts_are_right(prometheus: Prometheus) -> None:
    def met() -> set[str]:
        return {
            name for name, rule in observability.alerts().items() if prometheus.query(rule["expr"])
        }

    wait_for(lambda: met() >= TRUE, f"{TRUE}, not only {met()}", within=WATCH_S)
    assert met() <= TRUE | OPEN
    wait_for(
        lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()),
        "an evaluation of every rule",
    )
    assert {(name, "ok") for name in observability.alerts()} == {
        (rule["name"], rule["health"]) for rule in prometheus.rules()
    }


def numbers(series: list[dict[str, object]]) -> list[float]:
    """What a panel could draw; a share of nothing is not a number."""
    found = [float(each["value"][1]) for each in series]  # type: ignore[index]
    return [number for number in found if number == number]


def test_a_killed_engine_is_told(
    tmp_path: Path, binary: str, start_replica: Callable[..., Replica]
) -> None:
    settings = {"engine.runner": "fake", "server.port": free_port()}
    replica = start_replica(settings, command="serve").wait_ready()
    told = observability.alerts()["R3mesReplicaRestarted"]["expr"]
    rules = observability.ALERTS

    with running_prometheus(tmp_path / "told", binary, replica.url, rules=rules) as prometheus:
        wait_for(lambda: prometheus.query("r3mes_start_time_seconds"), "a first scrape")
        assert [] == prometheus.query(told)

        replica.engine.kill()

        (series,) = wait_for(lambda: prometheus.query(told), "the alert", within=WATCH_S)
        assert "1" == series["value"][1]
