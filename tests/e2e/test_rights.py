"""A release may do nothing at the API server, and its NetworkPolicies open what it needs alone."""

from pathlib import Path

import pytest

from e2e.clients import Kubectl, Program, Refused
from e2e.image import Image
from e2e.releases import Release, small
from support.chart import Chart, of_kind
from support.release_peers import GOLDEN as MATRICES
from support.release_peers import RELEASES, drawn

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

# What anyone may do who is known to the cluster: learn about itself and about the API.
GOLDEN = Path(__file__).parent / "golden" / "can-i.txt"
TOKENS = "/var/run/secrets/kubernetes.io"


@pytest.fixture
def installed(release: Release, image: Image) -> Release:
    release.deploy(small(image))
    return release


def accounts(kubectl: Kubectl) -> list[str]:
    return [it["metadata"]["name"] for it in kubectl.items("serviceaccounts")]


@pytest.mark.usefixtures("own_cluster")
def test_no_service_account_may_do_more_than_everyone(installed: Release, namespace: str) -> None:
    found = accounts(installed.kubectl)
    assert {"default", installed.fullname} == set(found)

    for name in found:
        user = f"system:serviceaccount:{namespace}:{name}"
        told = installed.kubectl("auth", "can-i", "--list", f"--as={user}")
        rights = sorted({" ".join(line.split()) for line in told.splitlines()[1:]})

        assert GOLDEN.read_text().splitlines() == rights, name


def test_the_account_of_a_release_is_refused_whatever_it_asks(
    installed: Release, namespace: str
) -> None:
    user = f"--as=system:serviceaccount:{namespace}:{installed.fullname}"
    for what in ("pods", "secrets", "deployments", "nodes"):
        with pytest.raises(Refused, match="Forbidden"):
            installed.kubectl("get", what, user)


def test_no_pod_carries_a_token(installed: Release) -> None:
    installed.wait_ready()
    name = installed.pod()["metadata"]["name"]
    said = installed.kubectl.attempt("exec", name, "--", "ls", TOKENS)

    assert "No such file" in said.stderr


@pytest.mark.parametrize("name", RELEASES)
def test_what_the_api_server_keeps_of_the_policies_opens_what_the_matrix_says(
    helm: Program, kubectl: Kubectl, namespace: str, name: str
) -> None:
    """Only this part is applied: monitors want an operator, and nothing here has to run."""
    things = Chart(str(helm.path)).render(RELEASES[name])
    kubectl.apply(*of_kind(things, "NetworkPolicy"))
    kept = kubectl.items("networkpolicies")

    assert (MATRICES / f"{name}.txt").read_text() == drawn(things, kept, namespace)
