"""A model that asks for a GPU runs where there is one, and says what it waits for elsewhere.

The GPUs are counted and not there: the scheduler is real, the engine computes on the CPU.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.asking import chat
from e2e.clients import Kubectl, wait_until
from e2e.cluster import gpus
from e2e.cluster.addresses import NODES
from e2e.image import Image
from e2e.releases import Release, Values, small
from e2e.told import assert_told

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("own_cluster"),
    pytest.mark.timeout(300, func_only=True),
]

NODE = NODES[-1].name
SMALL = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1536Mi"}}


@pytest.fixture
def gpu_node(admin: Kubectl) -> Iterator[str]:
    """It is asked for GPUs later; only pods that tolerate its taint may use it."""
    yield NODE
    gpus.claim(NODE, 0)
    admin.attempt("taint", "node", NODE, f"{gpus.RESOURCE}-")  # which fails where it has none
    taints = admin.get("node", NODE)["spec"].get("taints", [])
    assert [] == [it for it in taints if it["key"] == gpus.RESOURCE]


def asking(image: Image, **more: Any) -> Values:
    return small(image, modelDefaults={"gpu": {"count": 1, "resources": SMALL}, **more})


def test_a_model_waits_for_a_gpu_and_runs_where_it_is(
    admin: Kubectl, kubectl: Kubectl, release: Release, image: Image, gpu_node: str
) -> None:
    release.deploy(asking(image, config={"model": {"device": "cpu"}}))
    wait_until("a pod is there", lambda: len(release.pods()) == 1)
    name = release.pod()["metadata"]["name"]
    wait_until("it is unschedulable", lambda: "FailedScheduling" in kubectl("events"))

    assert "Pending" == release.pod()["status"]["phase"]
    assert_told("A pod is Pending: Insufficient nvidia.com/gpu", kubectl("describe", "pod", name))

    admin("taint", "node", gpu_node, f"{gpus.RESOURCE}=present:NoSchedule")
    gpus.claim(gpu_node, 1)
    release.wait_ready()
    assert (name, gpu_node) == (
        release.pod()["metadata"]["name"],
        release.pod()["spec"]["nodeName"],
    )
    with release.reached() as url:
        assert "warm" in chat(url)


def test_a_node_without_a_driver_ends_the_start_with_its_reason(
    kubectl: Kubectl, release: Release, image: Image, gpu_node: str
) -> None:
    """As on a node that counts GPUs and cannot reach them."""
    gpus.claim(gpu_node, 1)
    release.deploy(asking(image))
    wait_until("it failed", lambda: has_ended(release), within_s=120)

    said = kubectl("describe", "pod", release.pod()["metadata"]["name"])
    assert_told("A pod with a GPU says that there is none", said)


def has_ended(release: Release) -> bool:
    statuses = [it["status"].get("containerStatuses", []) for it in release.pods()]
    return any("terminated" in status["lastState"] for each in statuses for status in each)
