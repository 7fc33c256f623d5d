"""A pod is Ready when it has generated and not before; its first answer is as fast as any."""

import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import Kubectl, wait_until
from e2e.image import Image
from e2e.releases import Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900, func_only=True)]

STARTS = 15
MOST = 1.2  # times the steady time to a first token
SLOWEST_S = 120  # start
PROGRAM = (Path(__file__).parent / "first_answers.py").read_text()
READY = '{.status.conditions[?(@.type=="Ready")].status}'


@contextmanager
def watched(kubectl: Kubectl, pod: str) -> Iterator[list[str]]:
    """What the pod's Ready was, one value for each of its changes; complete at the end."""
    command = kubectl.command("get", "pod", pod, "--watch", f"--output=jsonpath={READY} ")
    seen: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield seen
        finally:
            process.terminate()
            seen += process.stdout.read().split() if process.stdout else []


def start_anew(release: Release) -> str:
    """The name of the pod that takes the place of the one that is deleted."""
    old = release.pod()["metadata"]["name"]
    release.kubectl("delete", "pod", old, "--grace-period=1", "--wait=false")
    wait_until("another pod is there", lambda: [old] != names(release) and len(names(release)) == 1)
    return names(release)[0]


def names(release: Release) -> list[str]:
    return [pod["metadata"]["name"] for pod in release.pods()]


def first_answers(kubectl: Kubectl, pod: str) -> dict[str, Any]:
    kubectl("wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    said = kubectl("exec", pod, "--", "python3", "-c", PROGRAM, timeout_s=SLOWEST_S)
    found: dict[str, Any] = json.loads(said)
    return found


def ready_since(kubectl: Kubectl, pod: str) -> float:
    """Kubernetes keeps whole seconds."""
    kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=60s")
    conditions = kubectl.get("pod", pod)["status"]["conditions"]
    [since] = [it["lastTransitionTime"] for it in conditions if it["type"] == "Ready"]
    return datetime.fromisoformat(since).timestamp()


def test_ready_stays_false_until_warm_and_the_first_answer_is_as_fast_as_later_ones(
    kubectl: Kubectl, release: Release, image: Image, measured: Callable[[str], None]
) -> None:
    release.deploy(small(image))
    release.wait_ready()
    starts = []
    for _ in range(STARTS):
        pod = start_anew(release)
        with watched(kubectl, pod) as ready:
            start = first_answers(kubectl, pod)
            since = ready_since(kubectl, pod)
        starts.append(start)

        assert ["loading", "warming", "ready"] == start["phases"][-3:]
        assert int(start["since"]) <= since
        assert ["False"] * (len(ready) - 1) + ["True"] == ready
        assert len(ready) > 1
    ratios = [it["first"] / it["steady"] for it in starts]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    first, steady = (statistics.median(it[key] for it in starts) for key in ("first", "steady"))
    measured(f"first answer / steady: {shown}; {first * 1e3:.1f} / {steady * 1e3:.1f} ms")
    assert statistics.median(ratios) <= MOST
