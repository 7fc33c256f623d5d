"""Models that come from a hub at another address: what it lacks is named, what it has is served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.asking import chat, served
from e2e.clients import Kubectl, wait_until
from e2e.cluster.addresses import HOST
from e2e.image import Image
from e2e.releases import Release, small
from e2e.told import assert_told
from support.hub import StandInHub, stand_in_hub

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("own_cluster"),  # its pods reach this machine
    pytest.mark.timeout(300, func_only=True),
]

BUNDLED = Path(__file__).parents[2] / "service" / "r3mes" / "tiny"
OPEN, CLOSED = "example/open", "example/closed"
TOKEN = {"tokenSecret": {"name": "hub-token"}}


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with stand_in_hub(HOST) as hub:
        hub.repositories = {OPEN: BUNDLED, CLOSED: BUNDLED}
        hub.gated, hub.token = {CLOSED}, "hf_sesame"
        yield hub


def models(hub: StandInHub, name: str, **more: Any) -> dict[str, Any]:
    return {
        "models": [{"name": "tiny", "source": {"hub": {"id": name, "endpoint": hub.url, **more}}}]
    }


def test_a_closed_model_is_fetched_with_its_token(
    kubectl: Kubectl, release: Release, image: Image, hub: StandInHub
) -> None:
    kubectl("create", "secret", "generic", "hub-token", "--from-literal=token=hf_sesame")
    release.deploy(small(image, **models(hub, CLOSED, revision="main", **TOKEN)))
    release.wait_ready()

    with release.reached() as url:
        assert [CLOSED] == served(url)
        assert "warm" in chat(url)


@pytest.mark.parametrize(
    ("heading", "name", "more"),
    [
        ("The hub has no such model", "example/nothing", {}),
        ("The hub has no such revision", OPEN, {"revision": "v9"}),
        ("The hub wants a token", CLOSED, {}),
    ],
)
def test_what_the_hub_refuses_is_told(
    kubectl: Kubectl,
    release: Release,
    image: Image,
    hub: StandInHub,
    heading: str,
    name: str,
    more: dict[str, str],
) -> None:
    release.deploy(small(image, **models(hub, name, **more)))
    wait_until("it failed", lambda: failed(release), within_s=120)

    assert_told(heading, kubectl("describe", "pod", release.pod()["metadata"]["name"]))


def failed(release: Release) -> bool:
    statuses = [it for pod in release.pods() for it in pod["status"].get("containerStatuses", [])]
    return any("terminated" in it["state"] or "terminated" in it["lastState"] for it in statuses)
