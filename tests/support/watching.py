"""What the dashboard and the alerts have to see on a real Prometheus that watches an overload."""

from support import observability
from support.prometheus import Prometheus
from support.replica import wait_for

WATCH_S = 60
# What holds under a load that no replica could carry; what may, as fast as the machine is.
TRUE = {"R3mesPreemptions", "R3mesQueueDeep", "R3mesRequestsRefused"}
OPEN = {"R3mesCacheFull", "R3mesSlowFirstToken"}


def assert_every_panel_has_data(prometheus: Prometheus) -> None:
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
        assert not silent, f"no data: {list(silent)}"


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
