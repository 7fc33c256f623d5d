"""A namespace that enforces the Pod Security level `restricted` takes all that the chart makes."""

import json
from typing import Any

import pytest

from e2e.clients import Kubectl, Program
from e2e.image import Image
from e2e.releases import CHART, Release, merged, small
from e2e.told import assert_told

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

TOKEN = {"tokenSecret": {"name": "hub"}}
MODELS: dict[str, dict[str, Any]] = {
    "gpus": {"gpu": {"count": 1}, "runtimeClassName": "nvidia"},
    "a-hub": {"source": {"hub": {"id": "some/model", **TOKEN}}},
    "a-volume": {"source": {"pvc": {"claimName": "weights"}}, "cache": {"existingClaim": "cache"}},
    "an-image": {"source": {"oci": {"reference": "registry.example.org/weights:1"}}},
    "replicas": {"replicas": 2, "chatTemplate": {"configMap": "template"}},
}
EVERYTHING = {
    "models": [{"name": name, **values} for name, values in MODELS.items()],
    "auth": {"existingSecret": "keys"},
    "ingress": {"enabled": True, "hosts": [{"host": "chat.example.org", "model": "gpus"}]},
    "dashboard": {"enabled": True},
}


def test_pods_of_the_defaults_run_there(
    kubectl: Kubectl, release: Release, image: Image, namespace: str
) -> None:
    """That the namespace enforces it is seen from a pod that it refuses."""
    assert "" == release.deploy(small(image)).stderr
    release.wait_ready()

    assert "" == release.helm.attempt("test", "r3mes").stderr
    assert {"Running", "Succeeded"} == {it["status"]["phase"] for it in kubectl.items("pods")}
    refused = kubectl.attempt("run", "try", f"--image={image}", "--", "sleep", "60")
    assert_told("A pod of your own is forbidden", refused.stderr)


def test_no_choice_of_values_is_warned_of(
    kubectl: Kubectl, helm: Program, image: Image, namespace: str
) -> None:
    values = json.dumps(merged(small(image), EVERYTHING))
    version = json.loads(kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    rendering = ["template", "r3mes", str(CHART), "--no-hooks", "--kube-version", version]
    rendered = helm(*rendering, "--values", "-", given=values)
    done = kubectl.attempt("apply", "--dry-run=server", "--filename", "-", given=rendered)

    assert (0, "") == (done.returncode, done.stderr)
    assert 5 == done.stdout.count("deployment.apps/")
