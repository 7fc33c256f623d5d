"""What one object of the chart says of another is so in the cluster: selectors, keys, probes."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest

from e2e.clients import Kubectl, Program
from e2e.image import Image
from e2e.namespaces import new_namespace
from e2e.releases import PORT, Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

VALUES: dict[str, Any] = {
    "models": [{"name": "tiny", "replicas": 2}],
    "auth": {"existingSecret": "keys", "allowAnonymous": False},
    "test": {"existingSecret": "check-up"},
    "ingress": {"enabled": True, "hosts": [{"host": "chat.example.org"}]},
    "config": {"engine": {"max_batch": 16}, "limits": {"overload_status": 429}},
}


@pytest.fixture(scope="module")
def installed(admin: Kubectl, helm_anywhere: Program, image: Image) -> Iterator[Release]:
    """One release that the tests of this file only look at."""
    with new_namespace(admin) as namespace:
        kubectl = admin.within(namespace)
        for name, key in (("keys", "keys"), ("check-up", "key")):
            kubectl("create", "secret", "generic", name, f"--from-literal={key}=sesame")
        release = Release("r3mes", helm_anywhere.within(namespace), kubectl)
        release.deploy(small(image, **VALUES))
        release.wait_ready()
        yield release


def selected(kubectl: Kubectl, labels: dict[str, str]) -> set[str]:
    chosen = ",".join(f"{name}={value}" for name, value in labels.items())
    return {it["metadata"]["name"] for it in kubectl.items("pods", f"--selector={chosen}")}


def container(release: Release) -> dict[str, Any]:
    [only] = release.pods()[0]["spec"]["containers"]
    return dict(only)


def test_every_selector_meets_the_pods_it_is_for(installed: Release) -> None:
    kubectl = installed.kubectl
    pods = {it["metadata"]["name"] for it in installed.pods()}
    [deployment] = kubectl.items("deployments")
    [budget] = kubectl.items("poddisruptionbudgets")
    services = kubectl.items("services")
    policies = [it for it in kubectl.items("networkpolicies") if "tiny" in it["metadata"]["name"]]

    assert 2 == len(pods)
    assert pods == selected(kubectl, deployment["spec"]["selector"]["matchLabels"])
    assert pods == selected(kubectl, budget["spec"]["selector"]["matchLabels"])
    assert 2 == budget["status"]["currentHealthy"] == budget["status"]["expectedPods"]
    assert [pods] * 2 == [selected(kubectl, it["spec"]["selector"]) for it in services]
    assert [pods] == [
        selected(kubectl, it["spec"]["podSelector"]["matchLabels"]) for it in policies
    ]


def test_an_ingress_leads_to_a_service_and_its_port(installed: Release) -> None:
    [ingress] = installed.kubectl.items("ingresses")
    [rule] = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    ports = installed.kubectl.get("service", backend["name"])["spec"]["ports"]

    assert [backend["port"]["name"]] == [port["name"] for port in ports]
    assert [container(installed)["ports"][0]["name"]] == [port["targetPort"] for port in ports]


def test_every_secret_that_a_pod_names_is_there_with_its_key(installed: Release) -> None:
    kubectl = installed.kubectl
    installed.helm("test", "r3mes")
    pods = kubectl.items("pods")
    variables = [it for pod in pods for it in pod["spec"]["containers"][0]["env"]]
    sources = [it["valueFrom"]["secretKeyRef"] for it in variables if "valueFrom" in it]
    volumes = [it["secret"] for pod in pods for it in pod["spec"]["volumes"] if "secret" in it]
    file = environment(installed)["R3MES_API_KEYS_FILE"]
    wanted = {(it["name"], it["key"]) for it in sources}
    wanted |= {(it["secretName"], PurePosixPath(file).name) for it in volumes}

    assert {("keys", "keys"), ("check-up", "key")} == wanted
    for name, key in wanted:
        assert key in kubectl.get("secret", name)["data"]
    pod = installed.pods()[0]["metadata"]["name"]
    assert "sesame" == kubectl("exec", pod, "--", "cat", file)


def test_every_variable_of_a_pod_is_a_setting_that_it_has_taken(installed: Release) -> None:
    pod = installed.pods()[0]["metadata"]["name"]
    said = installed.kubectl("exec", pod, "--", "r3mes", "show-config", "--json")
    taken = {it["variable"]: it["value"] for it in json.loads(said) if it["source"] == "env"}
    given = environment(installed)
    own = {name: value for name, value in given.items() if name.startswith("R3MES_")}

    assert {"R3MES_ENGINE__MAX_BATCH": "16", "R3MES_LIMITS__OVERLOAD_STATUS": "429"}.items() <= (
        own.items()
    )
    assert {name: plain(value) for name, value in own.items()} == {
        name: plain(value) for name, value in taken.items()
    }


def environment(release: Release) -> dict[str, str]:
    return {it["name"]: it["value"] for it in container(release)["env"] if "value" in it}


def plain(value: object) -> object:
    """A number, where it is one: 10 and 10.0 are the same setting."""
    try:
        return float(str(value))
    except ValueError:
        return str(value)


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_asks_for_what_the_app_answers(installed: Release, probe: str) -> None:
    asked = container(installed)[probe]["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in container(installed)["ports"]}
    pod = installed.pods()[0]["metadata"]["name"]
    with installed.kubectl.forwarded(f"pod/{pod}", ports[asked["port"]]) as url:
        answer = httpx.get(f"{url}{asked['path']}")

    assert 200 == answer.status_code
    assert "ready" == answer.json()["phase"]
    assert PORT == ports[asked["port"]]
