"""A first installation, by the commands that the chart and the documentation give."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e.asking import chat, served, wait_for_a_token
from e2e.clients import FORWARDING, Kubectl, Program
from e2e.image import Image
from e2e.releases import CHART, PORT, Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

MANIFEST = Path(__file__).parents[2] / "k8s" / "r3mes.yaml"
CHECKS = ("ready", "chat", "stream", "trace header", "metrics")
IMAGE_LINE = re.compile(r"image: r3mes:\S+")


@pytest.fixture(params=["helm", "helm4"])
def either_helm(request: pytest.FixtureRequest) -> Program:
    program: Program = request.getfixturevalue(request.param)
    return program


class Terminal:
    """Runs commands of a page as they stand there, but for a port that may be in use here."""

    def __init__(self, kubectl: Program, helm: Program) -> None:
        names = {"kubectl": kubectl.path, "helm": helm.path}
        functions = [f'{name}() {{ "{path}" "$@"; }}' for name, path in names.items()]
        self._begin = "; ".join(functions)
        self._environ = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __call__(self, line: str) -> str:
        done = subprocess.run(
            self._command(line), env=self._environ, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def left_running(self, line: str) -> Iterator[None]:
        command = self._command(line)
        command[2] = command[2].replace('{ "', '{ exec "')  # it is the one that is ended
        with subprocess.Popen(
            command, env=self._environ, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout
                assert FORWARDING.search(process.stdout.readline())
                yield
            finally:
                process.terminate()

    def _command(self, line: str) -> list[str]:
        line = line.replace(f" {PORT}:", f" {self._port}:")
        return ["bash", "-c", f"{self._begin}; {line.replace(f':{PORT}/', f':{self._port}/')}"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def commands(notes: str) -> list[str]:
    """The indented lines, joined where they go on."""
    lines = re.findall(r"^  (\S.*)", notes.replace("\\\n", " "), re.MULTILINE)
    return [line for line in lines if line.startswith(("kubectl", "curl", "helm"))]


def test_the_defaults_answer_by_the_commands_that_the_notes_give(
    kubectl: Kubectl, either_helm: Program, image: Image
) -> None:
    chosen = [f"image.repository={image.repository}", f"image.tag={image.tag}"]
    began = time.monotonic()
    done = either_helm.attempt("install", "r3mes", str(CHART), "--set", ",".join(chosen))

    assert "" == done.stderr  # neither an error nor a warning
    terminal = Terminal(kubectl, either_helm)
    rollout, forward, ask, check = commands(done.stdout)
    terminal(rollout)
    with terminal.left_running(forward):
        first = wait_for_a_token(terminal.url) - began
        print(f"{first:.1f} s from helm install to the first token, with {either_helm.path.name}")
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
    kubectl("delete", "--filename", "-", "--wait=false", given=text)
    every = {it["kind"] for it in yaml.safe_load_all(text)}
    assert {"Deployment", "NetworkPolicy", "Service", "ServiceAccount"} == every


def test_an_api_with_keys_is_open_to_keys_alone(
    kubectl: Kubectl, release: Release, image: Image
) -> None:
    """The way that docs/install.md goes before an ingress."""
    kubectl("create", "secret", "generic", "keys", "--from-literal=keys=sesame\nsecond")
    kubectl("create", "secret", "generic", "check-up", "--from-literal=key=second")
    auth = {"existingSecret": "keys"}
    done = release.deploy(small(image, auth=auth, test={"existingSecret": "check-up"}))
    release.wait_ready()

    assert "" == done.stderr
    with release.reached() as url:
        assert "warm" in chat(url, key="sesame")
        with pytest.raises(Exception, match="401 Unauthorized"):
            chat(url)
    report = release.helm("test", "r3mes", "--logs")
    assert len(CHECKS) == len(re.findall(r"\spassed\s", report))
