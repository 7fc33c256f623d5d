"""What dashboard and alerts ask of Prometheus, as queries it takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts/r3mes/files"
DASHBOARD = FILES / "dashboards/r3mes.json"
ALERTS = FILES / "alerts.yaml"
ALERT_TESTS = ROOT / "tests/observability/alerts_test.yaml"
RUNBOOK = ROOT / "docs/runbook.md"

# Of PromQL: what stands before a parenthesis of labels, and words that name no metric.
LABEL_LIST = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*[\w:(])")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
WORDS = frozenset({"and", "or", "unless", "bool", "offset"})


class Selector(NamedTuple):
    """One metric of a query, with the values it asks of each label."""

    metric: str
    labels: dict[str, list[str]]


def panels() -> dict[str, list[str]]:
    """The queries of the dashboard by its panels' titles."""
    board = json.loads(DASHBOARD.read_text())
    return {
        f"{panel['id']} {panel['title']}": [target["expr"] for target in panel["targets"]]
        for panel in board["panels"]
        if panel["type"] != "row"
    }


def chosen(query: str, *, interval: str) -> str:
    """As Grafana sends it when everything is chosen."""
    for name in ("namespace", "job", "instance"):
        query = query.replace(f"${name}", ".*")
    return query.replace("$__rate_interval", interval)


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries() -> dict[str, str]:
    """All of them, by where they stand."""
    found = {
        f"panel {title}, query {number}": chosen(query, interval="1m")
        for title, asked in panels().items()
        for number, query in enumerate(asked)
    }
    return found | {f"alert {name}": rule["expr"] for name, rule in alerts().items()}


def selectors(query: str) -> Iterator[Selector]:
    query = re.sub(r"\[[^]]*\]", "", LABEL_LIST.sub(" ", query))
    for metric, matchers in SELECTOR.findall(query):
        if metric not in WORDS:
            asked = {label: value.split("|") for label, value in MATCHER.findall(matchers)}
            yield Selector(metric, asked)


def kept_labels(query: str) -> set[str]:
    """What it groups or joins by."""
    return {label.strip() for names in LABEL_LIST.findall(query) for label in names.split(",")}


def legends() -> Iterator[tuple[str, str]]:
    """Each query of the dashboard with its legend."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], target["legendFormat"]
