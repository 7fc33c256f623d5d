"""Releases share a namespace and do not touch each other."""

from typing import Any

import pytest

from e2e.asking import chat, served
from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.releases import Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

MODELS = {"tiny": "r3mes", "red": "other-r3mes", "blue": "other-r3mes"}  # and their releases


def model(name: str) -> dict[str, Any]:
    """The bundled one, which says by its name who answers."""
    return {"name": name, "config": {"model": {"name": f"it-is-{name}"}}}


def leads_to(kubectl: Kubectl, service: str) -> list[str]:
    """The pods that requests to the Service get to."""
    slices = kubectl.items("endpointslices", f"--selector=kubernetes.io/service-name={service}")
    return [at["targetRef"]["name"] for it in slices for at in it["endpoints"] or []]


def test_two_releases_one_of_them_with_two_models(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    other = Release("other", release.helm, kubectl)
    release.deploy(small(image, models=[model("tiny")]))
    other.deploy(small(image, models=[model("red"), model("blue")]))
    releases = {"r3mes": release, "other-r3mes": other}
    for name, of in MODELS.items():
        releases[of].wait_ready(name)

    for name, of in MODELS.items():
        [pod] = releases[of].pods(name)
        assert [pod["metadata"]["name"]] == leads_to(kubectl, f"{of}-{name}")
        with releases[of].reached(name) as url:
            assert [f"it-is-{name}"] == served(url)
            assert "warm" in chat(url)
    assert leads_to(kubectl, "r3mes-tiny") == leads_to(kubectl, "r3mes")

    left = leads_to(kubectl, "other-r3mes-red") + leads_to(kubectl, "other-r3mes-blue")
    release.helm("uninstall", "r3mes", "--wait")
    wait_until("its pod is gone", lambda: not leads_to(kubectl, "r3mes-tiny"))
    still = leads_to(kubectl, "other-r3mes-red") + leads_to(kubectl, "other-r3mes-blue")
    assert left == still
    with other.reached("blue") as url:
        assert "warm" in chat(url)
