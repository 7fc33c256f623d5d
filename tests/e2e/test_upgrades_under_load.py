"""Clients that never retry do not notice that the pods behind their Service are replaced."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.load import address_of, running_load
from e2e.releases import Release, Values, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900, func_only=True)]

UPGRADES = 5
STREAMS, LIVE = 12, 8  # between two streams a client has none


def version(number: int, image: Image) -> Values:
    """Each has a setting of its own, so that each replaces every pod."""
    return small(
        image, models=[{"name": "tiny", "replicas": 2}], config={"limits": {"max_choices": number}}
    )


def test_five_upgrades_fail_no_request(
    kubectl: Kubectl,
    release: Release,
    image: Image,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    release.deploy(version(1, image))
    release.wait_ready()
    url = address_of(kubectl, release.service())
    seen = names(release)

    with running_load(url, tmp_path / "load", streams=STREAMS, max_tokens=600) as load:
        for number in range(UPGRADES):
            load.wait_live(LIVE)
            release.deploy(version(2 + number, image))
            release.wait_ready()
            seen |= names(release)
        wait_until("the old pods are gone", lambda: all_pods(kubectl) == 2, within_s=180)
        load.wait_live(LIVE)

    measured(f"{len(load.ended)} streams, {len(seen)} pods")
    assert [] == load.failures
    assert 2 * (1 + UPGRADES) == len(seen)
    assert {True, False} == {it.keeps for it in load.ended}


def names(release: Release) -> set[str]:
    return {pod["metadata"]["name"] for pod in release.pods()}


def all_pods(kubectl: Kubectl) -> int:
    return len(kubectl.items("pods"))
