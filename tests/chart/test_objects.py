"""The objects against each other and against Kubernetes' rules, on the reviewed defaults.

They are read from files, so that these tests run without Helm too.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.chart import Thing, container_of, environment_of, named, of_kind, only, pod_of
from support.command_line import clean_environment, r3mes
from support.replica import PLAIN, Replica

ROOT = Path(__file__).parents[2]
RENDERED = list(yaml.safe_load_all(Path(__file__).with_name("default.yaml").read_text()))
PLAIN_MANIFESTS = list(yaml.safe_load_all((ROOT / "k8s" / "r3mes.yaml").read_text()))
ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"}
ALLOWED_VOLUMES |= {"persistentVolumeClaim", "projected", "secret", "image"}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def pods(things: list[Thing]) -> list[Thing]:
    """Pods and what makes them, as objects with metadata and spec."""
    return [*of_kind(things, "Pod"), pod_of(things)]


def test_every_selector_finds_the_pods_of_its_model() -> None:
    labels = pod_of(RENDERED)["metadata"]["labels"]
    [test] = of_kind(RENDERED, "Pod")

    selectors = [only(RENDERED, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"] for each in of_kind(RENDERED, "Service")]
    assert 3 == len(selectors)
    assert [] == [each for each in selectors if not selects(each, labels)]
    assert [] == [each for each in selectors if selects(each, test["metadata"]["labels"])]


def test_each_network_policy_holds_for_one_kind_of_pod() -> None:
    [test] = of_kind(RENDERED, "Pod")
    labels = {"model": pod_of(RENDERED)["metadata"]["labels"], "test": test["metadata"]["labels"]}

    held = {
        named(policy): [
            kind
            for kind, those in labels.items()
            if selects(policy["spec"]["podSelector"]["matchLabels"], those)
        ]
        for policy in of_kind(RENDERED, "NetworkPolicy")
    }

    assert {"r3mes-tiny": ["model"], "r3mes": ["test"]} == held


def test_the_pods_of_helm_test_reach_the_models() -> None:
    [test] = of_kind(RENDERED, "Pod")
    policies = {named(each): each["spec"] for each in of_kind(RENDERED, "NetworkPolicy")}

    way_out = policies["r3mes"]["egress"][-1]["to"][0]["podSelector"]["matchLabels"]
    way_in = policies["r3mes-tiny"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert selects(way_out, pod_of(RENDERED)["metadata"]["labels"])
    assert selects(way_in, test["metadata"]["labels"])


def test_every_service_leads_to_a_port_that_the_container_names() -> None:
    ports = {port["name"] for port in container_of(RENDERED)["ports"]}

    targets = {
        p["targetPort"] for each in of_kind(RENDERED, "Service") for p in each["spec"]["ports"]
    }
    assert targets == ports == {"http"}


def test_the_pods_keep_the_restricted_level_and_have_a_read_only_root() -> None:
    for pod in pods(RENDERED):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
        assert spec["securityContext"]["runAsUser"] >= 10001
        for container in spec["containers"]:
            expected = {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert expected == container["securityContext"]
            assert [] == [port for port in container.get("ports", []) if "hostPort" in port]
        for volume in spec["volumes"]:
            assert volume.keys() - {"name"} <= ALLOWED_VOLUMES


def test_every_mount_has_its_volume_and_every_volume_its_mount() -> None:
    for pod in pods(RENDERED):
        spec = pod["spec"]
        mounted = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_no_pod_gets_a_token_and_nobody_a_role() -> None:
    assert [] == [each for each in RENDERED if "Role" in each["kind"]]
    account = only(RENDERED, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for pod in pods(RENDERED):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        assert named(account) == pod["spec"]["serviceAccountName"]


def test_every_name_fits_kubernetes() -> None:
    label = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

    assert [] == [named(thing) for thing in RENDERED if not label.fullmatch(named(thing))]


def test_a_pod_answers_what_its_probes_ask(fake_replica: Replica) -> None:
    container = container_of(RENDERED)
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]

    assert {"http"} == {probe["port"] for probe in probes}
    paths = [probe["path"] for probe in probes]
    assert ["/startupz", "/readyz", "/livez"] == paths
    statuses = [httpx.get(fake_replica.url + p, verify=PLAIN).status_code for p in paths]
    assert [200, 200, 200] == statuses


def test_the_environment_of_a_pod_loads_as_settings() -> None:
    program = (
        "import json, sys\n"
        "from r3mes.settings import load\n"
        "sys.stdout.write(load().model_dump_json())\n"
    )
    env = environment_of(RENDERED)

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(env),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stderr
    for part in ('"host":"0.0.0.0"', '"port":8000', '"source":"bundled"', "/dev/termination-log"):
        assert part in done.stdout


def test_the_folders_that_the_environment_names_are_writable() -> None:
    mounts = {mount["mountPath"] for mount in container_of(RENDERED)["volumeMounts"]}
    writable = {"/tmp", "/cache"}  # noqa: S108 - of the pod
    folders = {v for v in environment_of(RENDERED).values() if v.startswith(("/tmp", "/cache"))}  # noqa: S108

    assert writable <= mounts
    assert {"/tmp", "/cache", "/cache/hf"} <= folders  # noqa: S108


def test_the_commands_of_the_pods_are_those_of_the_program(fake_replica: Replica) -> None:
    [test] = of_kind(RENDERED, "Pod")
    [container] = test["spec"]["containers"]
    arguments = [fake_replica.url if "://" in word else word for word in container["args"]]

    assert "http://r3mes-tiny:8000" in container["args"]
    done = r3mes(*arguments)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Usage" in r3mes(*container_of(RENDERED)["args"], "--help").stdout


# The same without Helm.


@pytest.fixture(scope="module")
def by_name() -> dict[tuple[str, str], dict[str, Any]]:
    return {(thing["kind"], named(thing)): thing for thing in PLAIN_MANIFESTS}


def test_the_plain_manifests_are_the_chart_s_objects(
    by_name: dict[tuple[str, str], dict[str, Any]],
) -> None:
    rendered = {(each["kind"], named(each)) for each in RENDERED if each["kind"] != "Pod"}

    assert rendered == set(by_name)


def test_the_plain_manifests_do_not_say_that_helm_manages_them() -> None:
    text = (ROOT / "k8s" / "r3mes.yaml").read_text()

    assert [] == re.findall(r"helm\.sh|managed-by|Helm$|# Source", text)


def test_the_plain_manifests_run_from_the_oldest_cluster_on() -> None:
    hook = container_of(PLAIN_MANIFESTS)["lifecycle"]["preStop"]

    assert {"exec": {"command": ["sleep", "15"]}} == hook
