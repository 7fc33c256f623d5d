"""A start that cannot work ends at once and says why, where people look: `kubectl describe`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.releases import Release, small
from e2e.told import assert_told

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

NOBODY = "http://127.0.0.1:9"  # in the pod itself
WITHIN_S = 120
FAST_S = 60  # where the budget of a start is half an hour

HUB: dict[str, Any] = {"source": {"hub": {"id": "example/model", "endpoint": NOBODY}}}
LITTLE: dict[str, Any] = {
    "resources": {"requests": {"memory": "150Mi"}, "limits": {"memory": "150Mi"}}
}
TIGHT: dict[str, Any] = {"config": {"engine": {"kv_memory_limit_mb": 1}}}
LONG: dict[str, Any] = {"config": {"model": {"max_len": 1_000_000}}}
CASES = {
    "The hub cannot be reached": HUB,
    "There is too little memory to start": LITTLE,
    "There is too little memory for the KV cache": TIGHT,
    "A setting does not fit the model": LONG,
}


@pytest.mark.parametrize("heading", CASES)
def test_a_start_that_cannot_work_ends_at_once_and_says_why(
    kubectl: Kubectl,
    release: Release,
    image: Image,
    heading: str,
    measured: Callable[[str], None],
) -> None:
    release.deploy(small(image, modelDefaults=CASES[heading]))
    wait_until("it started again", lambda: ends(release), within_s=WITHIN_S)
    [ended, *_] = ends(release)
    took = seconds(ended["startedAt"], ended["finishedAt"])
    measured(f"ended after {took:.0f} s")

    assert took < FAST_S
    assert_told(heading, kubectl("describe", "pod", release.pod()["metadata"]["name"]))
    assert "False" == ready(release)


def ends(release: Release) -> list[dict[str, Any]]:
    """Of its containers so far, as far as Kubernetes keeps them."""
    statuses = [it for pod in release.pods() for it in pod["status"].get("containerStatuses", [])]
    states = [state for it in statuses for state in (it["lastState"], it["state"])]
    return [state["terminated"] for state in states if "terminated" in state]


def ready(release: Release) -> str:
    conditions = release.pod()["status"]["conditions"]
    return next(str(it["status"]) for it in conditions if it["type"] == "Ready")


def seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def test_a_node_that_has_too_little_left_is_told(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    wants = {"resources": {"requests": {"cpu": "900"}, "limits": {"cpu": "900"}}}
    release.deploy(small(image, modelDefaults=wants, test={"waitSeconds": 1}))
    wait_until("it is unschedulable", lambda: "FailedScheduling" in kubectl("events"))

    said = kubectl("describe", "pod", release.pod()["metadata"]["name"])
    assert_told("A pod is Pending: Insufficient cpu or memory", said)
    checked = release.helm.attempt("test", "r3mes", "--logs")
    assert 1 == checked.returncode
    assert_told("helm test fails", checked.stdout)


def test_a_secret_that_is_not_there_is_named(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    release.deploy(small(image, auth={"existingSecret": "nowhere"}))
    wait_until("it is told", lambda: "FailedMount" in kubectl("events"))

    said = kubectl("describe", "pod", release.pod()["metadata"]["name"])
    assert_told("A pod stays in ContainerCreating: a Secret is not found", said)


def test_an_image_that_no_node_can_pull_is_named(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    nowhere = Image("127.0.0.1:9/r3mes", image.tag)
    release.deploy(small(nowhere))
    wait_until("it is told", lambda: "ErrImagePull" in kubectl("events"))

    said = kubectl("describe", "pod", release.pod()["metadata"]["name"])
    assert_told("ErrImagePull or ImagePullBackOff", said)
