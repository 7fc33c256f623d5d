"""An engine that is killed in its pod: its streams are told, its container starts anew, and why."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from e2e.asking import chat
from e2e.clients import FORWARDING, Kubectl, wait_until
from e2e.image import Image
from e2e.load import Ended, address_of, running_load
from e2e.releases import PORT, Release, small
from e2e.told import assert_told

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

STREAMS = 8
AT_ONCE_S = 10
FORWARD_S = 30
# The brackets keep the shell itself from being what it looks for.
KILL = """
for process in /proc/[0-9]*; do
    if grep -q 'r3mes.engine.proces[s]' "$process/cmdline"; then
        kill -9 "${process#/proc/}"
    fi
done
"""
TELL_READY = "{.status.containerStatuses[0].restartCount}={.status.containerStatuses[0].ready} "


def test_its_streams_are_told_and_its_container_starts_anew_with_the_reason(
    kubectl: Kubectl, release: Release, image: Image, tmp_path: Path
) -> None:
    release.deploy(small(image))
    release.wait_ready()
    pod = release.pod()["metadata"]["name"]
    with running_load(
        address_of(kubectl, "r3mes"), tmp_path / "load", streams=STREAMS, max_tokens=2000
    ) as load:
        load.wait_live()
        whole, killed_at = len(load.ended), time.monotonic()
        kubectl("exec", pod, "--", "sh", "-c", KILL)

        def told() -> list[Ended]:
            return [it for it in load.ended[whole:] if it.began < killed_at]

        wait_until("the streams ended", lambda: len(told()) >= STREAMS, within_s=AT_ONCE_S)
        wait_until("it is not ready", lambda: "1=false" in state(kubectl, pod))
        release.wait_ready()
        wait_until("it is back", lambda: "1=true" == state(kubectl, pod), within_s=120)
        load.wait_live()

    assert [True] * STREAMS == ["engine_crash" in it.failure for it in told()]
    assert_told("A replica restarted: its engine was killed", kubectl("describe", "pod", pod))
    with release.reached() as url:
        assert "warm" in chat(url)


def test_a_port_forward_ends_with_the_container_it_leads_to(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    release.deploy(small(image))
    release.wait_ready()
    command = kubectl.command("port-forward", "--address=127.0.0.1", "svc/r3mes", f":{PORT}")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as forward:
        found = FORWARDING.search(forward.stdout.readline() if forward.stdout else "")
        assert found
        url = f"http://127.0.0.1:{found[1]}"
        assert "warm" in chat(url)
        try:
            kubectl("exec", release.pod()["metadata"]["name"], "--", "sh", "-c", KILL)
            wait_until("it ended", lambda: has_ended(forward, asked=url), within_s=FORWARD_S)
        finally:
            forward.kill()
        said = forward.communicate()[1]

    assert_told("port-forward ends by itself", said)


def has_ended(forward: "subprocess.Popen[str]", *, asked: str) -> bool:
    """What ends it is a connection that the pod refuses, so that somebody has to go on asking."""
    with suppress(httpx.TransportError):
        httpx.get(f"{asked}/livez", timeout=1)
    return forward.poll() is not None


def state(kubectl: Kubectl, pod: str) -> str:
    """How often its container was started anew, and whether it is ready."""
    return kubectl("get", "pod", pod, f"--output=jsonpath={TELL_READY}").strip()
