"""Writes the files by which a client finds the API server and shows who it is.

They are JSON, which every reader of YAML takes. The certificates lie inside, so that a file can be
copied to another place.
"""

import base64
import json
from pathlib import Path

from e2e.cluster import pki
from e2e.cluster.addresses import API
from e2e.cluster.places import DISK


def path(user: str) -> Path:
    return DISK / "kubeconfigs" / user


def write(user: str, *, to: Path | None = None) -> Path:
    """For the user of the certificate of that name."""
    place = to or path(user)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(mode=0o600)
    place.write_text(json.dumps(_content(user), indent=2))
    return place


def _content(user: str) -> dict[str, object]:
    server = {"server": API, "certificate-authority-data": _base64(pki.certificate("ca"))}
    identity = {
        "client-certificate-data": _base64(pki.certificate(user)),
        "client-key-data": _base64(pki.key(user)),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "r3mes-e2e", "cluster": server}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": "r3mes-e2e", "context": {"cluster": "r3mes-e2e", "user": user}}],
        "current-context": "r3mes-e2e",
    }


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
