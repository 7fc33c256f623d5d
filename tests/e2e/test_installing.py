"""A first installation, by the commands that the chart and the documentation give."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.asking import chat, served, wait_for_a_token
from e2e.clients import Kubectl, Program
from e2e.image import Image
from e2e.releases import CHART, PORT, Release, small
from e2e.terminal import Terminal, blocks, indented
from e2e.told import assert_told

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

MANIFEST = Path(__file__).parents[2] / "k8s" / "r3mes.yaml"
CHECKS = ("ready", "chat", "stream", "trace header", "metrics")
IMAGE_LINE = re.compile(r"image: r3mes:\S+")


def test_the_defaults_answer_by_the_commands_that_the_notes_give(
    kubectl: Kubectl, either_helm: Program, image: Image, measured: Callable[[str], None]
) -> None:
    chosen = [f"image.repository={image.repository}", f"image.tag={image.tag}"]
    began = time.monotonic()
    done = either_helm.attempt("install", "r3mes", str(CHART), "--set", ",".join(chosen))

    assert "" == done.stderr  # neither an error nor a warning
    terminal = Terminal(kubectl, either_helm)
    rollout, forward, ask, check = indented(done.stdout)
    terminal(rollout)
    with terminal.left_running(forward):
        first = wait_for_a_token(terminal.url) - began
        measured(f"{first:.1f} s from helm install to the first token")
        answer = terminal(ask)
    assert "warm" in answer

    report = terminal(check)
    assert [] == [it for it in CHECKS if not re.search(rf"^\s*{it}\s+passed\s", report, re.M)]
    assert "FAILED" not in report


def test_the_manifests_without_helm_answer(kubectl: Kubectl, image: Image) -> None:
    """Applied as they are, but for the name of the image."""
    text, images = IMAGE_LINE.subn(f"image: {image}", MANIFEST.read_text())
    done = kubectl.attempt("apply", "--filename", "-", given=text)

    assert 1 == images
    assert "" == done.stderr
    kubectl("rollout", "status", "deployment/r3mes-tiny", "--timeout=240s")
    with kubectl.forwarded("service/r3mes", PORT) as url:
        assert ["r3mes-tiny"] == served(url)
        assert "warm" in chat(url)
    every = {it["kind"] for it in yaml.safe_load_all(text)}
    assert {"Deployment", "NetworkPolicy", "Service", "ServiceAccount"} == every


def test_an_api_with_keys_is_open_to_keys_alone(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    """The Secrets are made as the page about an ingress says."""
    secrets, *_ = blocks("install.md", "Behind an ingress")
    Terminal(kubectl, release.helm, {"$(openssl rand -hex 24)": "sesame"})(secrets)
    auth = {"auth": {"existingSecret": "r3mes-keys"}, "test": {"existingSecret": "r3mes-test-key"}}
    done = release.deploy(small(image, **auth))
    release.wait_ready()

    assert "" == done.stderr
    with release.reached() as url:
        assert "warm" in chat(url, key="sesame")
        refused = httpx.get(f"{url}/v1/models")
        said = f"{refused.status_code} {refused.reason_phrase}\n{refused.text}"
        assert_told("A request has no key", said)
    report = release.helm("test", "r3mes", "--logs")
    assert len(CHECKS) == len(re.findall(r"\spassed\s", report))
