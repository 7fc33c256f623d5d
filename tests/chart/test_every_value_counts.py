"""The defaults as a whole, and each value: changed, it changes what is rendered."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart import LEAVES, Chart, with_value

# Renewed with: helm template r3mes charts/r3mes --kube-version 1.34.0 > tests/chart/default.yaml
DEFAULT = Path(__file__).with_name("default.yaml")


def test_the_defaults_render_to_what_was_reviewed(each_chart: Chart) -> None:
    assert list(yaml.safe_load_all(DEFAULT.read_text())) == each_chart.render()


def test_a_release_with_everything_on_renders_with_each_helm(each_chart: Chart) -> None:
    kinds = {thing["kind"] for thing in each_chart.render(ALL_ON)}

    expected = {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "Pod"}
    expected |= {"Ingress", "HTTPRoute", "PodDisruptionBudget"}
    assert expected | {"ServiceMonitor", "PrometheusRule", "ConfigMap"} == kinds


ALL_ON: dict[str, Any] = {
    "models": [{"name": "m"}],
    "modelDefaults": {"replicas": 2},
    "auth": {"existingSecret": "keys"},
    "test": {"existingSecret": "key"},
    "config": {"telemetry": {"otlp_endpoint": "http://collector:4318"}},
    "ingress": {"enabled": True, "hosts": [{"host": "a.example.org"}]},
    "httpRoute": {
        "enabled": True,
        "parentRefs": [{"name": "gate"}],
        "hosts": [{"host": "a.example.org"}],
    },
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
}
HUB = with_value("modelDefaults.source.hub.id", "org/name", into=ALL_ON)
MIRROR = with_value("modelDefaults.source.hub.endpoint", "http://mirror", into=HUB)
TOKEN = with_value("modelDefaults.source.hub.tokenSecret.name", "hub", into=HUB)
PVC = with_value("modelDefaults.source.pvc.claimName", "weights", into=ALL_ON)
TEMPLATE = with_value("modelDefaults.chatTemplate.configMap", "mine", into=ALL_ON)
OCI = with_value("modelDefaults.source.oci.reference", "weights:1", into=ALL_ON)
GPU = with_value("modelDefaults.gpu.count", 1, into=ALL_ON)
PODS = with_value("serviceMonitor.enabled", False, into=ALL_ON)
PODS = with_value("podMonitor.enabled", True, into=PODS)

# Where a value only counts beside others: what it stands beside.
BESIDE = {
    "modelDefaults.source.hub.": HUB,
    "modelDefaults.source.hub.tokenSecret.key": TOKEN,
    "modelDefaults.source.pvc.path": PVC,
    "modelDefaults.source.oci.": OCI,
    "modelDefaults.chatTemplate.key": TEMPLATE,
    "modelDefaults.gpu.": GPU,
    "modelDefaults.gpu.count": ALL_ON,
    "networkPolicy.allowToHub": HUB,
    "networkPolicy.allowToMirror": MIRROR,
    "podMonitor.": PODS,
    "podMonitor.enabled": with_value("serviceMonitor.enabled", False, into=ALL_ON),
}
# Where another value of the same type will not do.
TO: dict[str, Any] = {
    "image.digest": f"sha256:{'0' * 64}",
    "image.pullPolicy": "Always",
    "models": [{"name": "other"}],
    "modelDefaults.replicas": 3,
    "modelDefaults.gpu.count": 1,
    "modelDefaults.source.hub.endpoint": "https://mirror:8443",
    "modelDefaults.source.oci.pullPolicy": "Always",
    "modelDefaults.startup.budgetSeconds": 700,
    "modelDefaults.shmSize": "3Gi",
    "modelDefaults.cache.size": "3Gi",
    "modelDefaults.shutdown.gracePeriodSeconds": 500,
    "modelDefaults.env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
    "modelDefaults.config": {"engine": {"max_batch": 8}},
    "modelDefaults.resources.requests": {"cpu": "3"},
    "modelDefaults.resources.limits": {"cpu": "3"},
    "modelDefaults.gpu.resources.requests": {"cpu": "3"},
    "modelDefaults.gpu.resources.limits": {"memory": "3Gi"},
    "modelDefaults.topologySpreadConstraints": [{"topologyKey": "zone"}],
    "config": {"engine": {"max_batch": 8}},
    "httpRoute.timeout": "1h",
    "ingress.paths": ["/"],
    "httpRoute.paths": ["/"],
    "ingress.hosts": [{"host": "other.example.org"}],
    "httpRoute.hosts": [{"host": "other.example.org"}],
    "test.resources": {"requests": {"cpu": "3"}},
}
# What refuses instead of rendering, or decides whether something renders: tested by name below.
ELSEWHERE = {"modelDefaults.autoscaling", "auth.allowAnonymous", "modelDefaults.source.bundled"}
INTERVALS = ("serviceMonitor.interval", "podMonitor.interval")


def another(path: str) -> Any:
    default = LEAVES[path].default
    if path in TO:
        return TO[path]
    if path in INTERVALS:
        return "1m"
    by_type: dict[type, Any] = {
        bool: not default,
        int: 7,
        str: "other",
        list: [{"name": "other"}],
        dict: {"other": "other"},
    }
    return by_type[type(default)]


def beside(path: str) -> dict[str, Any]:
    fitting = [prefix for prefix in BESIDE if path.startswith(prefix)]
    return BESIDE[max(fitting, key=len)] if fitting else ALL_ON


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - ELSEWHERE))
def test_a_value_that_is_changed_changes_what_is_rendered(chart: Chart, path: str) -> None:
    values = beside(path)
    changed = with_value(path, not_as_it_is(values, path), into=values)

    assert chart.render(values) != chart.render(changed)


MAPS = [path for path, value in LEAVES.items() if isinstance(value.default, dict)]
MAPS += ["modelDefaults.resources", "modelDefaults.gpu.resources"]


@pytest.mark.parametrize("path", MAPS)
def test_a_map_may_be_emptied_by_null(chart: Chart, path: str) -> None:
    assert [] != chart.render(with_value(path, None, into=beside(path)))


def not_as_it_is(values: dict[str, Any], path: str) -> Any:
    """Another value; a toggle that ALL_ON switched is switched back."""
    inner: Any = values
    for key in path.split("."):
        inner = inner.get(key) if isinstance(inner, dict) else None
    return not inner if isinstance(inner, bool) else another(path)
