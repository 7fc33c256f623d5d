"""What stands before a cluster: Traefik, which reads the Ingress itself, and nginx, told by it.

Both run on this machine, listen on loopback and send to the addresses of the cluster.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.clients import wait_until
from support.prometheus import free_port

PREFIX = "nginx.ingress.kubernetes.io/"
# What ingress-nginx makes of an annotation.
DIRECTIVES = {
    "proxy-body-size": "client_max_body_size {};",
    "proxy-buffering": "proxy_buffering {};",
    "proxy-read-timeout": "proxy_read_timeout {}s;",
    "proxy-send-timeout": "proxy_send_timeout {}s;",
}
NGINX = """\
daemon off;
user root;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    server {{
        listen 127.0.0.1:{port};
        {directives}
        location / {{
            proxy_pass {behind};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_ignore_headers X-Accel-Buffering; # so that the annotations alone decide
        }}
    }}
}}
"""


@contextmanager
def traefik(program: Path, kubeconfig: Path, folder: Path, *, namespace: str) -> Iterator[str]:
    port = free_port()
    command = [
        str(program),
        f"--entryPoints.web.address=127.0.0.1:{port}",
        f"--providers.kubernetesIngress.namespaces={namespace}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with _running(command, folder / "traefik.log", environ=environ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def nginx(annotations: Mapping[str, str], folder: Path, *, behind: str) -> Iterator[str]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("no nginx on PATH (Debian: package nginx-light)")
    folder.mkdir()
    port = free_port()
    directives = "\n        ".join(told_by(annotations))
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, directives=directives, behind=behind))
    with _running([program, "-c", str(config), "-e", "stderr"], folder / "log"):
        yield f"http://127.0.0.1:{port}"


def told_by(annotations: Mapping[str, str]) -> list[str]:
    """One that is not known here would have to be looked up in what ingress-nginx documents."""
    own = {name.removeprefix(PREFIX): it for name, it in annotations.items() if PREFIX in name}
    return [DIRECTIVES[name].format(value) for name, value in own.items()]


@contextmanager
def _running(
    command: list[str], log: Path, *, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, env=environ)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def wait_routed(url: str, headers: Mapping[str, Any]) -> None:
    """Until the way from there to a replica is open."""

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/livez", headers=headers).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(f"{url} leads to a replica", answers)
