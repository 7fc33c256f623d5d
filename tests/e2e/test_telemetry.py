"""What a release tells of itself arrives: spans at a Jaeger, metrics at a Prometheus."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from e2e import jaeger
from e2e.asking import PATH, body
from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.load import address_of
from e2e.releases import MODEL, PORT, Release, small
from support import observability
from support.overload import TIGHT, Reached, overload
from support.prometheus import running_prometheus
from support.watching import assert_alerts_are_right, assert_every_panel_has_data

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, CHAT = f"POST {PATH}", "chat r3mes-tiny"


@pytest.fixture
def collector(
    kubectl: Kubectl, program: Callable[[str], Path], load_images: Callable[..., None]
) -> Iterator[str]:
    """The address on this machine where it is asked what it got."""
    image = jaeger.image_of(program("jaeger"))
    load_images(image)
    kubectl.apply(*jaeger.objects(image))
    kubectl("wait", f"pod/{jaeger.NAME}", "--for=condition=Ready", "--timeout=60s")
    with kubectl.forwarded(f"pod/{jaeger.NAME}", jaeger.QUERY) as address:
        yield address


@pytest.mark.usefixtures("own_cluster")
def test_a_request_is_one_whole_tree_at_the_collector(
    collector: str, release: Release, image: Image
) -> None:
    telemetry = {"otlp_endpoint": f"http://{jaeger.NAME}:{jaeger.OTLP}", "sample_ratio": 1}
    release.deploy(small(image, config={"telemetry": telemetry}))
    release.wait_ready()
    with release.reached() as url:
        answer = httpx.post(
            f"{url}{PATH}",
            json=body(stream=True),
            headers={"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"},
            timeout=60,
        )
    _, trace_id, span_id, _ = answer.headers["traceresponse"].split("-")
    wait_until("the spans arrived", lambda: len(jaeger.parents(collector, trace_id)) == 5)

    assert CALLER_TRACE == trace_id
    assert span_id != CALLER_SPAN
    assert {
        SERVER: CALLER_SPAN,
        CHAT: SERVER,
        "queue": CHAT,
        "prefill": CHAT,
        "decode": CHAT,
    } == jaeger.parents(collector, trace_id)


def test_every_query_of_dashboard_and_alerts_returns_data_under_load(
    release: Release, image: Image, namespace: str, tmp_path: Path
) -> None:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on PATH (Debian: package prometheus)")
    release.deploy(small(image, config=settings(TIGHT)))
    release.wait_ready()
    address_of(release.kubectl, release.service())  # it is reached from here, so its pods are
    pod = release.pod()
    target = f"http://{pod['status']['podIP']}:{PORT}"
    labels = {"job": release.service(MODEL), "namespace": namespace, "pod": pod["metadata"]["name"]}
    watched = running_prometheus(
        tmp_path / "prometheus", binary, target, rules=observability.ALERTS, labels=labels
    )
    with release.reached() as url, overload(Reached(url)), watched as prometheus:
        assert_every_panel_has_data(prometheus)
        assert_alerts_are_right(prometheus)
        [shown] = prometheus.query("r3mes_build_info")

    assert labels.items() <= shown["metric"].items()


def settings(dotted: dict[str, object]) -> dict[str, dict[str, object]]:
    """As `config` of the chart has them."""
    tree: dict[str, dict[str, object]] = {}
    for name, value in dotted.items():
        section, _, field = name.partition(".")
        tree.setdefault(section, {})[field] = value
    return tree
