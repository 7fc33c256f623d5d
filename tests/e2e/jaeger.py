"""A Jaeger in the cluster that keeps the spans it gets, and what it says of a trace.

Its image is one static program.
"""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster.images import PODMAN

NAME = "collector"
OTLP, QUERY, HEALTH = 4318, 16686, 14269
FLAGS = (
    f"--collector.otlp.http.host-port=:{OTLP}",
    f"--query.http-server.host-port=:{QUERY}",
    f"--admin.http.host-port=:{HEALTH}",
)


def image_of(program: Path) -> str:
    """In podman's store, made where it is missing."""
    content = program.read_bytes()
    name = f"localhost/jaeger:{hashlib.sha256(content).hexdigest()[:12]}"
    if subprocess.run([*PODMAN, "image", "exists", name], check=False).returncode:
        command = [*PODMAN, "import", "--change", 'ENTRYPOINT ["/jaeger"]', "-", name]
        subprocess.run(command, input=_archive(content), capture_output=True, check=True)
    return name


def objects(image: str) -> list[Mapping[str, Any]]:
    """A pod and the Service that leads to it."""
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": image,
        "args": FLAGS,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"httpGet": {"path": "/", "port": HEALTH}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    user = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container],
        "securityContext": user,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
    }
    ports = [{"port": OTLP}]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": _named(labels), "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _named(labels),
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def parents(query: str, trace_id: str) -> dict[str, str]:
    """Each span of the trace by its name, with the name of its parent, or its id if that is far."""
    answer = httpx.get(f"{query}/api/traces/{trace_id}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return {}
    answer.raise_for_status()
    [trace] = answer.json()["data"]
    names = {span["spanID"]: span["operationName"] for span in trace["spans"]}
    above = {span["spanID"]: span["references"] for span in trace["spans"]}
    return {
        name: names.get(it["spanID"], it["spanID"])
        for span, name in names.items()
        for it in above[span]
    }


def _named(labels: Mapping[str, str]) -> dict[str, Any]:
    return {"name": NAME, "labels": labels}


def _archive(program: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("jaeger")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    return packed.getvalue()
