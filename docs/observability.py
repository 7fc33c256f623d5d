"""Makes the Grafana dashboard, and copies of it and of the alerts for people without Helm.

Owns how Grafana and Kubernetes want them written.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from textwrap import indent
from typing import Any

from dashboard import CHOSEN, ROWS, Panel

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "charts/r3mes/files/alerts.yaml"
MADE = "# Made by `make docs` from charts/r3mes/files/alerts.yaml; do not edit.\n"
RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: r3mes
  labels:
    app.kubernetes.io/name: r3mes
spec:
"""

KNOWN = "r3mes_build_info"  # every replica has it
WIDTH, HEIGHT = 24, 8  # of Grafana's grid, and of one panel


def dashboard() -> dict[str, Any]:
    return {
        "uid": "r3mes",
        "title": "R3MES",
        "tags": ["r3mes"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables()},
        "panels": list(panels()),
    }


def variables() -> list[dict[str, Any]]:
    chosen = {
        "namespace": f"label_values({KNOWN}, namespace)",
        "job": f'label_values({KNOWN}{{namespace=~"$namespace"}}, job)',
        "instance": f'label_values({KNOWN}{{namespace=~"$namespace", job=~"$job"}}, instance)',
    }
    labels = {"namespace": "Namespace", "job": "Model", "instance": "Replica"}
    source = {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
    return [source] + [
        {
            "name": name,
            "label": labels[name],
            "type": "query",
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "query": {"query": query, "refId": name},
            "refresh": 2,  # with the time range
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",  # also where a label is missing
            "current": {"text": "All", "value": "$__all"},
        }
        for name, query in chosen.items()
    ]


def panels() -> Iterator[dict[str, Any]]:
    ids, top = count(1), 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        yield {"id": next(ids), "type": "row", "title": title, "gridPos": place, "panels": []}
        top, left = top + 1, 0
        for panel in row:
            height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
            if left + panel.width > WIDTH:
                top, left = top + height, 0
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            yield {"id": next(ids), "gridPos": place, **shown(panel)}
            left += panel.width
        top += height


def shown(panel: Panel) -> dict[str, Any]:
    style = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {}
    heat = panel.kind == "heatmap"
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": style},
            "overrides": [],
        },
        "options": {"calculate": False, "yAxis": {"unit": panel.unit}} if heat else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query.replace("@", CHOSEN),
                "legendFormat": legend,
                "format": "heatmap" if heat else "time_series",
                "instant": panel.kind == "bargauge",
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def files() -> dict[Path, Callable[[], str]]:
    return {
        ROOT / "charts/r3mes/files/dashboards/r3mes.json": board,
        ROOT / "k8s/dashboards/r3mes.json": board,
        ROOT / "k8s/alerts/rules.yaml": lambda: MADE + ALERTS.read_text(),
        ROOT / "k8s/alerts/prometheusrule.yaml": lambda: (
            MADE + RULE + indent(ALERTS.read_text(), "  ")
        ),
    }


def board() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"
