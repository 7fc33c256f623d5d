"""The Deployment of a model: where it comes from, what it asks for, how it starts and stops."""

from typing import Any

import pytest

from support.chart import (
    DEFAULTS,
    Chart,
    container_of,
    environment_of,
    model,
    named,
    of_kind,
    only,
    pod_of,
)

# Sources.


def test_the_bundled_model_is_the_default_and_may_be_named(chart: Chart) -> None:
    default, named_so = chart.render(model()), chart.render(model(source={"bundled": True}))

    assert default == named_so
    assert "bundled" == environment_of(default)["R3MES_MODEL__SOURCE"]


def test_a_hub_model_has_its_id_revision_mirror_and_token(chart: Chart) -> None:
    hub = {"id": "org/name", "revision": "abc", "endpoint": "http://mirror"}
    things = chart.render(model(source={"hub": {**hub, "tokenSecret": {"name": "hub"}}}))

    env = environment_of(things)
    assert "org/name" == env["R3MES_MODEL__SOURCE"]
    assert "abc" == env["R3MES_MODEL__REVISION"]
    assert "http://mirror" == env["HF_ENDPOINT"]
    assert "HF_HUB_OFFLINE" not in env
    token = {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert {"name": "HF_TOKEN", "valueFrom": token} in container_of(things)["env"]


@pytest.mark.parametrize(
    ("source", "volume"),
    [
        (
            {"pvc": {"claimName": "weights", "path": "qwen/"}},
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
        ),
        (
            {"oci": {"reference": "weights:1", "path": "/qwen"}},
            {"image": {"reference": "weights:1", "pullPolicy": "IfNotPresent"}},
        ),
    ],
)
def test_a_model_of_a_volume_is_mounted_read_only_and_has_the_entrys_name(
    chart: Chart, source: dict[str, Any], volume: dict[str, Any]
) -> None:
    things = chart.render(model(source=source))

    env = environment_of(things)
    assert ("/models/qwen", "m") == (env["R3MES_MODEL__SOURCE"], env["R3MES_MODEL__NAME"])
    assert {"name": "model", **volume} in pod_of(things)["spec"]["volumes"]
    mount = {"name": "model", "mountPath": "/models", "readOnly": True}
    assert mount in container_of(things)["volumeMounts"]


def test_the_root_of_a_volume_is_a_source_too(chart: Chart) -> None:
    things = chart.render(model(source={"pvc": {"claimName": "weights"}}))

    assert "/models" == environment_of(things)["R3MES_MODEL__SOURCE"]


def test_a_chat_template_comes_from_a_config_map(chart: Chart) -> None:
    things = chart.render(model(chatTemplate={"configMap": "mine", "key": "chat.jinja"}))

    place = "/etc/r3mes/template"
    assert f"{place}/chat.jinja" == environment_of(things)["R3MES_MODEL__CHAT_TEMPLATE"]
    items = [{"key": "chat.jinja", "path": "chat.jinja"}]
    volume = {"name": "template", "configMap": {"name": "mine", "items": items}}
    assert volume in pod_of(things)["spec"]["volumes"]
    mount = {"name": "template", "mountPath": place, "readOnly": True}
    assert mount in container_of(things)["volumeMounts"]


def test_a_model_may_do_without_the_chat_template_of_the_others(chart: Chart) -> None:
    others = {"modelDefaults": {"chatTemplate": {"configMap": "mine"}}}
    things = chart.render({**others, **model(chatTemplate={"configMap": ""})})

    assert "R3MES_MODEL__CHAT_TEMPLATE" not in environment_of(things)
    assert chart.render(model()) == things


# GPUs.


def test_a_gpu_is_in_requests_and_limits_with_what_its_nodes_ask_for(chart: Chart) -> None:
    gpu = {"count": 1, "resourceName": "nvidia.com/mig-1g.10gb"}
    things = chart.render(model(gpu=gpu, resources={"limits": {"memory": "64Gi"}}))

    resources = container_of(things)["resources"]
    assert "1" == resources["requests"]["nvidia.com/mig-1g.10gb"]
    assert {"nvidia.com/mig-1g.10gb": "1", "memory": "64Gi"} == resources["limits"]
    assert "cuda" == environment_of(things)["R3MES_MODEL__DEVICE"]
    spec = pod_of(things)["spec"]
    assert DEFAULTS["modelDefaults"]["gpu"]["tolerations"] == spec["tolerations"]
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert shm in spec["volumes"]


def test_the_toleration_of_gpu_nodes_can_be_taken_away(chart: Chart) -> None:
    gpu = {"modelDefaults": {"gpu": {"count": 1, "tolerations": None}}}
    own = [{"key": "sku", "operator": "Exists"}]

    assert "tolerations" not in pod_of(chart.render(gpu))["spec"]
    things = chart.render({**gpu, **model(tolerations=own)})
    assert own == pod_of(things)["spec"]["tolerations"]


def test_a_gpu_is_asked_for_where_no_other_limit_is(chart: Chart) -> None:
    values = {"modelDefaults": {"gpu": {"resources": {"limits": None, "requests": None}}}}

    resources = container_of(chart.render({**values, **model(gpu={"count": 1})}))["resources"]

    gpu = {"nvidia.com/gpu": "1"}
    assert {"limits": gpu, "requests": gpu} == resources


def test_helm_test_runs_where_the_image_of_the_model_is(chart: Chart) -> None:
    values = model(gpu={"count": 1}, nodeSelector={"kubernetes.io/arch": "arm64"})

    things = chart.render(values)

    of_model, of_test = pod_of(things)["spec"], only(things, "Pod")["spec"]
    assert "nvidia.com/gpu" == of_test["tolerations"][0]["key"]
    for key in ("nodeSelector", "tolerations"):
        assert of_model[key] == of_test[key]


def test_without_a_gpu_nothing_asks_for_one(chart: Chart) -> None:
    things = chart.render(model())

    assert {"cpu", "memory"} == set(container_of(things)["resources"]["limits"])
    assert "tolerations" not in pod_of(things)["spec"]
    assert "R3MES_MODEL__DEVICE" not in environment_of(things)


def test_a_device_that_the_config_names_stands(chart: Chart) -> None:
    things = chart.render(model(gpu={"count": 1}, config={"model": {"device": "cpu"}}))

    assert "cpu" == environment_of(things)["R3MES_MODEL__DEVICE"]


# Security.


def test_the_user_may_be_left_to_the_cluster_and_the_root_be_writable(chart: Chart) -> None:
    things = chart.render({"security": {"user": None, "readOnlyRoot": False}})

    for pod in [pod_of(things), only(things, "Pod")]:
        assert pod["spec"]["securityContext"].pop("runAsNonRoot") is True
        kept = {"fsGroupChangePolicy", "seccompProfile"}
        assert kept == set(pod["spec"]["securityContext"])
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is False
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


# Settings.


def test_the_models_config_goes_over_the_defaults_and_those_over_the_global_one(
    chart: Chart,
) -> None:
    values = {
        "config": {"engine": {"max_batch": 1, "max_waiting": 1, "block_size": 1}},
        "modelDefaults": {"config": {"engine": {"max_batch": 2, "max_waiting": 2}}},
        **model(config={"engine": {"max_batch": 3}}),
    }

    env = environment_of(chart.render(values))

    names = ("MAX_BATCH", "MAX_WAITING", "BLOCK_SIZE")
    assert ["3", "2", "1"] == [env[f"R3MES_ENGINE__{name}"] for name in names]


def test_large_numbers_fractions_and_no_are_written_as_they_are_read(chart: Chart) -> None:
    config = {
        "limits": {"max_request_tokens": 1048576000},
        "engine": {"kv_memory_fraction": 0.25, "prefix_cache": False, "kv_blocks": None},
    }

    env = environment_of(chart.render(model(config=config)))

    assert "1048576000" == env["R3MES_LIMITS__MAX_REQUEST_TOKENS"]
    assert "0.25" == env["R3MES_ENGINE__KV_MEMORY_FRACTION"]
    assert "false" == env["R3MES_ENGINE__PREFIX_CACHE"]
    assert "R3MES_ENGINE__KV_BLOCKS" not in env


def test_a_zero_of_an_entry_goes_over_the_default(chart: Chart) -> None:
    things = chart.render({"modelDefaults": {"replicas": 3}, **model(replicas=0)})

    assert 0 == only(things, "Deployment")["spec"]["replicas"]
    assert [] == of_kind(things, "Pod")  # nothing there that `helm test` could ask


def test_variables_of_ones_own_come_first(chart: Chart) -> None:
    node = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    collector = {"telemetry": {"otlp_endpoint": "http://$(NODE):4318"}}

    env = container_of(chart.render(model(env=[node], config=collector)))["env"]

    assert node == env[0]  # so that it is known where a setting names it
    assert {"name": "R3MES_TELEMETRY__OTLP_ENDPOINT", "value": "http://$(NODE):4318"} in env


def test_a_replica_listens_on_ipv6_where_asked(chart: Chart) -> None:
    both = environment_of(chart.render({"config": {"server": {"host": "::"}}}))

    assert "::" == both["R3MES_SERVER__HOST"]
    assert "0.0.0.0" == environment_of(chart.render())["R3MES_SERVER__HOST"]  # noqa: S104


def test_keys_come_from_a_file_of_the_secret(chart: Chart) -> None:
    things = chart.render({"auth": {"existingSecret": "mine", "secretKey": "list"}})

    assert "/etc/r3mes/keys/list" == environment_of(things)["R3MES_API_KEYS_FILE"]
    volume = {"name": "keys", "secret": {"secretName": "mine", "defaultMode": 0o440}}
    assert volume in pod_of(things)["spec"]["volumes"]


# Start, stop and rollout.


def test_the_startup_budget_is_the_probes_and_the_rollouts(chart: Chart) -> None:
    things = chart.render(model(startup={"budgetSeconds": 62}))

    assert 13 == container_of(things)["startupProbe"]["failureThreshold"]
    assert 362 == only(things, "Deployment")["spec"]["progressDeadlineSeconds"]


@pytest.mark.parametrize(
    ("drain", "pre_stop", "grace"), [(90, 15, 120), (30, 0, 45), (0.5, 5, 21), (3600, 30, 3645)]
)
def test_the_grace_period_is_pre_stop_and_drain_and_15(
    chart: Chart, drain: float, pre_stop: int, grace: int
) -> None:
    config = {"drain": {"timeout_s": drain}}
    things = chart.render(model(config=config, shutdown={"preStopSeconds": pre_stop}))

    assert grace == pod_of(things)["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(
    ("kube", "hook"),
    [
        ("1.29.0", {"exec": {"command": ["sleep", "15"]}}),
        ("1.30.0", {"sleep": {"seconds": 15}}),
        ("1.34.4-gke.100", {"sleep": {"seconds": 15}}),
    ],
)
def test_before_the_stop_a_pod_sleeps_in_the_clusters_own_way(
    chart: Chart, kube: str, hook: dict[str, Any]
) -> None:
    container = container_of(chart.render(kube=kube))

    assert hook == container["lifecycle"]["preStop"]


def test_no_sleep_is_no_hook(chart: Chart) -> None:
    container = container_of(chart.render(model(shutdown={"preStopSeconds": 0})))

    assert "lifecycle" not in container


def test_a_rollout_starts_the_new_pod_first_unless_no_gpu_is_to_spare(chart: Chart) -> None:
    def rolling(**values: Any) -> tuple[int, int]:
        spec = only(chart.render(model(**values)), "Deployment")["spec"]
        update = spec["strategy"]["rollingUpdate"]
        return update["maxUnavailable"], update["maxSurge"]

    assert (0, 1) == rolling()
    assert (1, 0) == rolling(rollout={"noSpareGPU": True})


def test_pods_spread_beside_those_of_their_own_rollout(chart: Chart) -> None:
    zone: dict[str, Any] = {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = [{**zone, "maxSkew": 1, "labelSelector": {"matchLabels": {"a": "b"}}}]
    own += [{**zone, "maxSkew": 2, "matchLabelKeys": keys} for keys in (["a"], [])]

    things = chart.render(model(topologySpreadConstraints=own))

    first, *others = pod_of(things)["spec"]["topologySpreadConstraints"]
    assert {**own[0], "matchLabelKeys": ["pod-template-hash"]} == first
    model_labels = {"labelSelector": only(things, "Deployment")["spec"]["selector"]}
    assert [{**each, **model_labels} for each in own[1:]] == others


@pytest.mark.parametrize(
    "values", [model(replicas=None), {"modelDefaults": {"replicas": None}, **model()}]
)
def test_replicas_may_belong_to_an_autoscaler(each_chart: Chart, values: dict[str, Any]) -> None:
    things = each_chart.render(values)

    assert "replicas" not in only(things, "Deployment")["spec"]
    assert "r3mes-m" == named(only(things, "PodDisruptionBudget"))  # there may be several
    assert "r3mes-test-m" == named(only(things, "Pod"))


EMPTIED = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


@pytest.mark.parametrize("replicas", [2, None])
def test_the_cluster_autoscaler_may_empty_the_node_of_one_of_several_pods(
    chart: Chart, replicas: int | None
) -> None:
    pod = pod_of(chart.render(model(replicas=replicas)))

    local = {volume["name"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume}
    assert local == set(pod["metadata"]["annotations"][EMPTIED].split(","))


def test_the_cluster_autoscaler_leaves_an_only_pod_alone_unless_told(chart: Chart) -> None:
    assert "annotations" not in pod_of(chart.render())["metadata"]

    for told in ({EMPTIED: "cache"}, {"other": "one"}):
        assert told == pod_of(chart.render(model(podAnnotations=told)))["metadata"]["annotations"]

    several = chart.render(model(replicas=2, podAnnotations={EMPTIED: ""}))
    assert {EMPTIED: ""} == pod_of(several)["metadata"]["annotations"]


def test_a_budget_exists_where_there_is_more_than_one_replica(chart: Chart) -> None:
    two = {"models": [{"name": "a", "replicas": 2}, {"name": "b"}]}

    budget = only(chart.render(two), "PodDisruptionBudget")

    assert "r3mes-a" == named(budget)
    assert (1, "AlwaysAllow") == (
        budget["spec"]["maxUnavailable"],
        budget["spec"]["unhealthyPodEvictionPolicy"],
    )
