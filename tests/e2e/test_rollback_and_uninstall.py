"""A release goes back to what worked without losing a stream, and goes away without a trace."""

from pathlib import Path

import pytest

from e2e.asking import served
from e2e.clients import Kubectl, Program, wait_until
from e2e.image import Image
from e2e.load import address_of, running_load
from e2e.releases import Release, small
from e2e.terminal import Terminal, blocks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

WRONG = {"modelDefaults": {"config": {"model": {"max_len": 1_000_000}}}}
WHOLE = {
    "models": [{"name": "tiny", "replicas": 2}],
    "auth": {"allowAnonymous": True},
    "ingress": {"enabled": True, "hosts": [{"host": "chat.example.org"}]},
    "dashboard": {"enabled": True},
}
COMES_AND_GOES = ("events", "leases", "pods.metrics.k8s.io")  # as the cluster itself makes them


@pytest.fixture
def either(either_helm: Program, kubectl: Kubectl) -> Release:
    return Release("r3mes", either_helm, kubectl)


def test_a_rollback_from_a_version_that_cannot_start_loses_nothing(
    kubectl: Kubectl, either: Release, image: Image, tmp_path: Path
) -> None:
    either.deploy(small(image))
    either.wait_ready()
    [good] = names(either)
    with running_load(address_of(kubectl, "r3mes"), tmp_path / "load") as load:
        load.wait_live()
        either.deploy(small(image, **WRONG))
        wait_until("the new pod failed", lambda: failed(either), within_s=120)
        either.helm("rollback", "r3mes")
        either.wait_ready()
        wait_until("the old pod is alone", lambda: [good] == names(either))
        before = len(load.ended)
        wait_until("streams go on", lambda: len(load.ended) >= before + 8)

    assert [] == load.failures
    assert len(load.ended) >= 8
    revisions = either.helm("history", "r3mes", "--output=json")
    assert 3 == revisions.count('"revision"')


def names(release: Release) -> list[str]:
    return [pod["metadata"]["name"] for pod in release.pods()]


def failed(release: Release) -> bool:
    statuses = [it for pod in release.pods() for it in pod["status"].get("containerStatuses", [])]
    return any(it["restartCount"] for it in statuses)


def inventory(admin: Kubectl, namespace: str) -> set[str]:
    """All of the namespace, and what carries the chart's name in the whole cluster."""
    resources = admin("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    kinds = ",".join(it for it in resources if not it.startswith(COMES_AND_GOES))
    inside = admin.within(namespace)("get", kinds, "--output=name", "--ignore-not-found")
    others = admin("api-resources", "--verbs=list", "--namespaced=false", "--output=name").split()
    chosen = "--selector=app.kubernetes.io/name=r3mes"
    outside = admin("get", ",".join(others), chosen, "--output=name", "--ignore-not-found")
    return {*inside.split(), *outside.split()}


def test_nothing_is_left_of_a_release(
    admin: Kubectl, either: Release, image: Image, namespace: str
) -> None:
    before = inventory(admin, namespace)
    either.deploy(small(image, **WHOLE))
    either.wait_ready()
    with either.reached() as url:
        assert ["r3mes-tiny"] == served(url)
    made = inventory(admin, namespace) - before
    kinds = {name.partition("/")[0].partition(".")[0] for name in made}
    assert {"deployment", "service", "ingress", "configmap", "poddisruptionbudget"} < kinds

    either.helm("test", "r3mes")
    [uninstall] = blocks("install.md", "Uninstall")
    Terminal(either.kubectl, either.helm)(uninstall)
    wait_until("all of it is gone", lambda: inventory(admin, namespace) == before, within_s=90)
