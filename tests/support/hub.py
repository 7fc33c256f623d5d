"""A stand-in for the model hub on this machine: folders as repositories, whole or in part.

Speaks what `huggingface_hub` asks: the revision's info, the tree, and files with their hashes.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "1" * 40


class StandInHub(ThreadingHTTPServer):
    """`repositories` maps ids to folders; those in `gated` are refused without `token`."""

    daemon_threads = False

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Answers)
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.token: str | None = None
        self.failing: int | None = None  # a status that every request gets
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: StandInHub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        self.server.asked.append(self.path)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.server.failing is not None:
            return self._send(self.server.failing, b"{}", body=body)
        for name, folder in self.server.repositories.items():
            rest = {f"/api/models/{name}": "api", f"/{name}/resolve": "file"}
            for prefix, kind in rest.items():
                if path.startswith(prefix):
                    return self._repository(name, folder, kind, path.removeprefix(prefix), body)
        return self._refuse(404 if self._known() else 401, "RepoNotFound", body=body)

    def _known(self) -> bool:
        return self.server.token is not None

    def _repository(self, name: str, folder: Path, kind: str, rest: str, body: bool) -> None:
        allowed = f"Bearer {self.server.token}" == self.headers.get("Authorization")
        if name in self.server.gated and not allowed:
            return self._refuse(403, "GatedRepo", body=body)
        words = rest.strip("/").split("/")
        if kind == "file":
            if words[0] not in ("main", COMMIT):
                return self._refuse(404, "RevisionNotFound", body=body)
            return self._file(folder / "/".join(words[1:]), body=body)
        if len(words) > 1 and words[1] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound", body=body)
        if words[0] == "tree":
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            return self._send_json([_entry(path, folder) for path in files], body=body)
        return self._send_json({"id": name, "sha": COMMIT, "siblings": []}, body=body)

    def _file(self, path: Path, *, body: bool) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound", body=body)
        content = path.read_bytes()
        headers = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT}
        return self._send(200, content, body=body, headers=headers)

    def _refuse(self, status: int, code: str, *, body: bool) -> None:
        self._send(status, b"{}", body=body, headers={"X-Error-Code": code})

    def _send_json(self, value: Any, *, body: bool) -> None:
        content = json.dumps(value).encode()
        self._send(200, content, body=body, headers={"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, *, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    digest = _digest(path.read_bytes())
    name = str(path.relative_to(folder))
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": digest}


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def stand_in_hub(host: str = "127.0.0.1") -> Iterator[StandInHub]:
    hub = StandInHub(host)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
