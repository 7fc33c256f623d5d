"""What does not render, and the words for it."""

import subprocess
from typing import Any

import pytest

from support.chart import CHART, Chart, model

OPEN = {"enabled": True, "hosts": [{"host": "a.x"}]}
ALLOWED = {"auth": {"allowAnonymous": True}}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a grace period that would cut streams": (
        model(shutdown={"gracePeriodSeconds": 104}),
        "model m: shutdown.gracePeriodSeconds is 104, but preStopSeconds and "
        "config.drain.timeout_s take 105",
    ),
    "an unknown value": ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    "an unknown setting": (
        {"config": {"engine": {"max_bach": 2}}},
        "'/config/engine': additional properties 'max_bach' not allowed",
    ),
    "a name that stands twice": (
        {"models": [{"name": "a"}, {"name": "b"}, {"name": "a"}]},
        'models: the name "a" stands twice',
    ),
    "two sources": (
        model(source={"hub": {"id": "org/name"}, "pvc": {"claimName": "weights"}}),
        "model m: source has hub and pvc; a model comes from one of them.",
    ),
    "a named bundle beside a default source": (
        {
            "modelDefaults": {"source": {"hub": {"id": "org/name"}}},
            **model(source={"bundled": True}),
        },
        "model m: source has bundled and hub",
    ),
    "a folder of no volume": (
        model(source={"pvc": {"path": "qwen"}}),
        "model m: source.pvc.path says nothing without source.pvc.claimName.",
    ),
    "a revision of no repository": (
        model(source={"hub": {"revision": "main"}}),
        "model m: source.hub.revision says nothing without source.hub.id.",
    ),
    "more GPUs than compute": (
        model(gpu={"count": 2}),
        "model m: gpu.count is 2, but one GPU computes; the others would be idle. "
        "More GPUs serve as more replicas.",
    ),
    "autoscaling": (
        model(autoscaling={"maxReplicas": 3}),
        "model m: autoscaling comes with the autoscaler, which this version does not have; "
        "set replicas.",
    ),
    "autoscaling for all": (
        {"modelDefaults": {"autoscaling": {"enabled": True}}},
        "model tiny: autoscaling comes with the autoscaler",
    ),
    "no model at all": ({"models": None}, "models is empty"),
    "an ingress without keys": (
        {"ingress": OPEN},
        "ingress.enabled: the API would be open to everyone. Put keys into a Secret and set "
        "auth.existingSecret, or set auth.allowAnonymous to true.",
    ),
    "a route without keys": (
        {"httpRoute": {**OPEN, "parentRefs": [{"name": "gate"}]}},
        "httpRoute.enabled: the API would be open to everyone.",
    ),
    "an ingress without hosts": (
        {**ALLOWED, "ingress": {"enabled": True}},
        "ingress.enabled: ingress.hosts is empty",
    ),
    "a route without a gateway": (
        {**ALLOWED, "httpRoute": OPEN},
        "httpRoute.enabled: httpRoute.parentRefs is empty",
    ),
    "a host of two models": (
        {**ALLOWED, "ingress": OPEN, "models": [{"name": "a"}, {"name": "b"}]},
        'ingress.hosts: "a.x" names no model, and there are several: a, b.',
    ),
    "a host of a model that is not there": (
        {**ALLOWED, "ingress": {"enabled": True, "hosts": [{"host": "a.x", "model": "b"}]}},
        'ingress.hosts: there is no model "b"; models has tiny.',
    ),
    "both monitors": (
        {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "Prometheus would count everything twice",
    ),
    "a source among the settings": (
        {"config": {"model": {"source": "org/name"}}},
        "model tiny: config.model.source is set by the chart. Use source of the model.",
    ),
    "a revision among the settings": (
        model(config={"model": {"revision": "main"}}),
        "model m: config.model.revision is set by the chart. Use source.hub.revision",
    ),
    "a port among the settings": (
        {"config": {"server": {"port": 80}}},
        "config.server.port is set by the chart. Use service.port.",
    ),
    "an address that nobody outside the pod reaches": (
        {"config": {"server": {"host": "127.0.0.1"}}},
        "'/config/server/host': value must be one of '0.0.0.0', '::'",
    ),
    "a setting among the variables": (
        model(env=[{"name": "R3MES_ENGINE__MAX_BATCH", "value": "8"}]),
        "model m: env has R3MES_ENGINE__MAX_BATCH; settings of R3MES belong in config.",
    ),
    "a variable that the chart sets": (
        model(env=[{"name": "HOME", "value": "/root"}]),
        "model m: env has HOME, which is there already.",
    ),
    "a token in two ways": (
        model(
            source={"hub": {"id": "org/name", "tokenSecret": {"name": "hub"}}},
            env=[{"name": "HF_TOKEN", "value": "secret"}],
        ),
        "model m: env has HF_TOKEN, which is there already.",
    ),
    "a host that stands twice": (
        {**ALLOWED, "ingress": {"enabled": True, "hosts": [{"host": "a.x"}, {"host": "a.x"}]}},
        'ingress.hosts: "a.x" stands twice; a host leads to one model.',
    ),
    "keys among the settings": (
        {"config": {"api_keys": "secret"}},
        "config.api_keys is set by the chart. Use auth.existingSecret.",
    ),
    "a file of keys among the settings": (
        {"config": {"api_keys_file": "/keys"}},
        "config.api_keys_file is set by the chart. Use auth.existingSecret.",
    ),
    "the termination log among the settings": (
        {"config": {"termination_log": "/log"}},
        "config.termination_log is set by the chart.",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused_in_words(chart: Chart, what: str) -> None:
    values, words = REFUSED[what]

    assert words in chart.refusal(values)


def test_each_helm_tells_the_chart_s_own_words(each_chart: Chart) -> None:
    assert "would be open to everyone" in each_chart.refusal({"ingress": OPEN})
    assert "max_bach" in each_chart.refusal({"config": {"engine": {"max_bach": 2}}})


def test_a_name_that_kubernetes_would_not_take_is_refused(chart: Chart) -> None:
    release = "r3mes-" + "x" * 47  # the longest that Helm takes

    assert 53 == len(release)
    assert "r3mes-" in chart.render(release=release)[0]["metadata"]["name"]
    long = model(name="a-very-long-name")
    assert "has 70 characters, and Kubernetes allows 63" in chart.refusal(long, release=release)
    assert "begins with a letter" in chart.refusal({}, release="3")


def test_an_older_cluster_is_refused(chart: Chart) -> None:
    said = chart.refusal({}, kube="1.28.9")

    assert "requires kubeVersion: >=1.29.0-0" in said
    assert [] != chart.render(kube="1.29.0-eks-1")


def test_an_image_volume_is_refused_where_no_cluster_has_them(chart: Chart) -> None:
    image = model(source={"oci": {"reference": "weights:1"}})

    assert "Kubernetes v1.30.4 has none: 1.31 is the first" in chart.refusal(image, kube="1.30.4")
    assert [] != chart.render(image, kube="1.31.0")


def test_lint_finds_nothing(each_chart: Chart) -> None:
    command = [each_chart.program, "lint", "--strict", "--quiet", str(CHART)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout.strip())


def test_the_least_grace_that_is_enough_renders(chart: Chart) -> None:
    assert [] != chart.render(model(shutdown={"gracePeriodSeconds": 105}))
