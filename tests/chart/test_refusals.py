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
    "a revision beside a volume": (
        model(source={"pvc": {"claimName": "weights"}, "hub": {"revision": "main"}}),
        "model m: source.hub.revision says nothing without source.hub.id.",
    ),
    "a folder beside a repository": (
        model(source={"hub": {"id": "org/name"}, "pvc": {"path": "qwen"}}),
        "model m: source.pvc.path says nothing without source.pvc.claimName.",
    ),
    "a mirror of no repository": (
        model(source={"hub": {"endpoint": "http://mirror"}}),
        "model m: source.hub.endpoint says nothing without source.hub.id.",
    ),
    "a token of no repository": (
        model(source={"hub": {"tokenSecret": {"name": "hub"}}}),
        "model m: source.hub.tokenSecret.name says nothing without source.hub.id.",
    ),
    "a GPU among the limits alone": (
        model(resources={"limits": {"nvidia.com/gpu": 1}}),
        "model m: resources.limits asks for 1 nvidia.com/gpu, and gpu.count is 0. "
        "Leave it out there and set gpu.count.",
    ),
    "more GPUs among the limits than counted": (
        model(gpu={"count": 1}, resources={"limits": {"nvidia.com/gpu": "2"}}),
        "model m: resources.limits asks for 2 nvidia.com/gpu, and gpu.count is 1.",
    ),
    "two templates": (
        model(chatTemplate={"configMap": "mine"}, config={"model": {"chat_template": "/a"}}),
        "model m: chatTemplate.configMap and config.model.chat_template are two templates; "
        "take one of them.",
    ),
    "a label of the selectors": (
        model(podLabels={"r3mes.io/model": "other"}),
        "model m: podLabels: r3mes.io/model is set by the chart.",
    ),
    "a second version among the labels": (
        {"modelDefaults": {"podLabels": {"app.kubernetes.io/version": "1"}}},
        "model tiny: podLabels: app.kubernetes.io/version is set by the chart.",
    ),
    **{
        f"a label of every object at {kind}": (
            {kind: {"labels": {"app.kubernetes.io/instance": "other"}}},
            f"{kind}.labels: app.kubernetes.io/instance is set by the chart.",
        )
        for kind in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
    },
    "a host with its scheme": (
        {**ALLOWED, "ingress": {"enabled": True, "hosts": [{"host": "https://a.x"}]}},
        "'/ingress/hosts/0/host': 'https://a.x' does not match pattern",
    ),
    "a collector without its scheme": (
        {"config": {"telemetry": {"otlp_endpoint": "collector:4318"}}},
        "'/config/telemetry/otlp_endpoint'",
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


def test_a_mirror_and_its_token_may_stand_among_the_defaults_of_models_without_a_hub(
    chart: Chart,
) -> None:
    hub = {"endpoint": "http://mirror", "tokenSecret": {"name": "hub"}}
    defaults = {"modelDefaults": {"source": {"hub": hub}}}
    volume = model(source={"pvc": {"claimName": "weights", "path": "qwen"}})

    assert [] != chart.render(defaults)
    assert [] != chart.render({**defaults, **volume})


def test_a_gpu_may_stand_among_the_limits_where_it_is_counted(chart: Chart) -> None:
    one = {"limits": {"nvidia.com/gpu": 1}}

    assert [] != chart.render(model(gpu={"count": 1}, resources=one))


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
