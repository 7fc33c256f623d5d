"""A checkpoint on a PersistentVolume: filled as docs/install.md says, then served from there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.asking import chat, served
from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.releases import Release, small
from e2e.terminal import Terminal, blocks
from e2e.told import assert_told

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("own_cluster"),  # its nodes share the disk of this machine
    pytest.mark.timeout(300, func_only=True),
]

BUNDLED = "service/r3mes/tiny"


@pytest.fixture
def volume(admin: Kubectl, namespace: str, tmp_path: Path) -> Iterator[None]:
    """For the first claim of the namespace."""
    tmp_path.chmod(0o777)
    name = f"weights-{namespace}"
    spec = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(tmp_path)},
        "claimRef": {"name": "weights", "namespace": namespace},
    }
    made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    admin.apply({**made, "spec": spec})
    yield
    admin("delete", "persistentvolume", name, "--wait=false")


def on_the_volume(path: str) -> dict[str, Any]:
    return {
        "models": [{"name": "my-model", "source": {"pvc": {"claimName": "weights", "path": path}}}]
    }


@pytest.mark.usefixtures("volume")
def test_weights_are_copied_to_a_volume_and_served(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    [fill] = blocks("install.md", "Air-gapped")
    instead = {"r3mes:0.1.0": str(image), "cp my-model ": f"cp {BUNDLED} "}
    Terminal(kubectl, release.helm, instead)(fill)
    release.deploy(small(image, **on_the_volume("my-model")))
    release.wait_ready("my-model")
    with release.reached() as url:
        assert ["my-model"] == served(url)
        assert "warm" in chat(url)

    release.deploy(small(image, **on_the_volume("elsewhere")))
    wait_until("the new pod failed", lambda: any(map(restarts, release.pods("my-model"))))
    [wrong] = [it["metadata"]["name"] for it in release.pods("my-model") if restarts(it)]
    assert_told("A folder is not on the volume", kubectl("describe", "pod", wrong))


def restarts(pod: dict[str, Any]) -> int:
    return sum(it["restartCount"] for it in pod["status"].get("containerStatuses", []))
