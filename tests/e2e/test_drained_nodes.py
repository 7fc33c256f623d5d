"""A node is drained under load: the budget is held, and clients that never retry do not notice."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import Kubectl
from e2e.cluster.addresses import NODES
from e2e.image import Image
from e2e.load import address_of, running_load
from e2e.releases import Release, small

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("own_cluster"),
    pytest.mark.timeout(600, func_only=True),
]

STREAMS, LIVE = 12, 8  # between two streams a client has none
DRAIN_S = 300
FLAGS = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_S}s")
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget"
LEFT, KEPT = NODES[1].name, NODES[0].name


@contextmanager
def cordoned(admin: Kubectl, node: str) -> Iterator[None]:
    admin("cordon", node)
    try:
        yield
    finally:
        admin("uncordon", node)


def test_a_drained_node_gives_its_pods_one_by_one_and_fails_no_request(
    admin: Kubectl,
    kubectl: Kubectl,
    release: Release,
    image: Image,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    with cordoned(admin, KEPT):  # so that both are where they cannot stay
        release.deploy(small(image, models=[{"name": "tiny", "replicas": 2}]))
        release.wait_ready()
    assert [LEFT, LEFT] == places(release)
    url = address_of(kubectl, release.service())

    with (
        running_load(url, tmp_path / "load", streams=STREAMS, max_tokens=600) as load,
        cordoned(admin, LEFT),
    ):
        load.wait_live(LIVE)
        said, fewest = drained(kubectl, release, tmp_path / "said")
        load.wait_live(LIVE)
        release.wait_ready()

    measured(f"{len(load.ended)} streams, {said.count(REFUSED)} evictions refused")
    assert [] == load.failures
    assert 1 == fewest
    assert REFUSED in said
    assert [KEPT, KEPT] == places(release)


def drained(kubectl: Kubectl, release: Release, told: Path) -> tuple[str, int]:
    """What kubectl said, and the fewest ready pods meanwhile. Other cases' pods may stay."""
    selector = f"--pod-selector=app.kubernetes.io/instance={release.name}"
    command = kubectl.command("drain", LEFT, *FLAGS, selector)
    fewest = len(places(release))
    with told.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            fewest = min(fewest, sum(map(is_ready, release.pods())))
            time.sleep(0.5)
    assert 0 == process.returncode, told.read_text()
    return told.read_text(), fewest


def places(release: Release) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in release.pods()]


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"
