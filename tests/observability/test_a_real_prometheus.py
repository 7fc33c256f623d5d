"""Every query of dashboard and alerts, asked of a real Prometheus that watches a loaded replica."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import observability
from support.prometheus import JOB, Prometheus, free_port, running_prometheus
from support.replica import Replica, wait_for
from support.watching import WATCH_S, assert_alerts_are_right, assert_every_panel_has_data


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
    assert_every_panel_has_data(prometheus)
    (shown,) = prometheus.query("r3mes_build_info")

    assert ("ml", JOB) == (shown["metric"]["namespace"], shown["metric"]["job"])

    assert_alerts_are_right(prometheus)


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
