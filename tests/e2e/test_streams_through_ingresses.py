"""Behind an ingress controller 200 streams flow at a time; none is held back and none is cut."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from e2e.clients import Kubectl
from e2e.controllers import nginx, traefik, wait_routed
from e2e.image import Image
from e2e.load import Ended, address_of, running_load
from e2e.releases import Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400, func_only=True)]

STREAMS, TOKENS = 200, 300
HOST, KEY = "chat.example.org", "sesame"
HEADERS = {"Host": HOST, "Authorization": f"Bearer {KEY}"}


@pytest.fixture
def behind(release: Release, image: Image) -> Release:
    """A model that carries all of them at once, with keys, as an Ingress wants them."""
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    release.kubectl.apply({**keys, "stringData": {"keys": KEY}})
    values = small(
        image,
        auth={"existingSecret": "keys"},
        config={"engine": {"max_batch": 256}},
        ingress={"enabled": True, "hosts": [{"host": HOST}]},
    )
    release.deploy(values)
    release.wait_ready()
    return release


def test_traefik(
    behind: Release,
    program: Callable[[str], Path],
    namespace: str,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    config = behind.kubectl.kubeconfig
    with traefik(program("traefik"), config, tmp_path, namespace=namespace) as url:
        wait_routed(url, HEADERS)

        assert_streams_flow(url, tmp_path / "load", measured)


def test_nginx_as_the_annotations_tell_it(
    behind: Release, kubectl: Kubectl, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    told = kubectl.get("ingress", behind.fullname)["metadata"]["annotations"]
    address = address_of(kubectl, behind.service())
    with nginx(told, tmp_path / "nginx", behind=address) as url:
        wait_routed(url, HEADERS)

        assert_streams_flow(url, tmp_path / "load", measured)


def assert_streams_flow(url: str, ledger: Path, measured: Callable[[str], None]) -> None:
    with running_load(
        url, ledger, streams=STREAMS, max_tokens=TOKENS, rounds=1, headers=HEADERS
    ) as load:
        load.wait_over(within_s=240)
    flows = [flow(it) for it in load.ended]
    measured(f"{at_once(load.ended)} at once, the slowest flow {min(flows, default=0):.2f}")

    assert [] == load.failures
    assert STREAMS == len(load.ended)
    assert STREAMS == at_once(load.ended)
    assert min(flows) > 0.5


def flow(it: Ended) -> float:
    """The share of its time in which a stream brought something, but for its longest silence."""
    return (it.last - it.first - it.silence) / (it.last - it.began)


def at_once(streams: Sequence[Ended]) -> int:
    """The most that were between their first and their last event."""
    begins = [(it.first, 1) for it in streams]
    ends = [(it.last, -1) for it in streams]
    return max(itertools.accumulate(change for _, change in sorted(begins + ends)))
