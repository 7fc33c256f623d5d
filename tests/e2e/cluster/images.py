"""Brings images into the nodes without a registry.

The base of images of the project is made by debootstrap, since there is nowhere to pull one from.
"""

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from e2e.cluster.addresses import NODES, Node
from e2e.cluster.nodes import PAUSE, ctr
from e2e.cluster.places import BIN, CACHE, DISK

BASE = "localhost/base:12"
RELEASE = "bookworm"
BASE_ARCHIVE = CACHE / f"base-{RELEASE}.tar"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
NAME = "{{.Repository}}:{{.Tag}}"
PODMAN = ("podman", "--runtime", "runc")  # crun refuses some machines' cgroups


def load(*images: str) -> None:
    """From podman's store into every node that does not have just this image already."""
    for image in images:
        identity = _podman("image", "inspect", "--format", "{{.Id}}", image).strip()
        lacking = [node for node in NODES if _loaded(node).get(image) != identity]
        if lacking:
            with tempfile.TemporaryDirectory(dir=DISK) as folder:
                archive = Path(folder) / "image.tar"
                _podman("save", "--format", "docker-archive", "--output", str(archive), image)
                for node in lacking:
                    _import(node, archive, image=image, identity=identity)


def forget(*images: str) -> None:
    """Removes them from podman's store and from every node that has them from here."""
    for image in images:
        _podman("image", "rm", "--force", image)  # a container that was left may be made of it
        for node in NODES:
            loaded = _loaded(node)
            if loaded.pop(image, None):
                ctr(node, "images", "rm", image)
                _list(node).write_text(json.dumps(loaded))


def tagged(pattern: str) -> list[str]:
    """Those in podman's store whose name and tag match, like `localhost/r3mes:e2e-*`.

    podman's own filter shows every name of an image of which one matches.
    """
    return [
        name
        for name in _podman("image", "ls", "--format", NAME).split()
        if fnmatchcase(name, pattern)
    ]


def load_pause() -> None:
    """The image that holds each pod's namespaces: one static program and nothing else."""
    program = (BIN / "pause").read_bytes()
    identity = hashlib.sha256(program).hexdigest()
    for node in NODES:
        if _loaded(node).get(PAUSE) != identity:
            archive = node.disk / "pause.tar"
            archive.write_bytes(_pause_archive(program))
            _import(node, archive, image=PAUSE, identity=identity)
            archive.unlink()


def base() -> str:
    """The name of the base image in podman's store, made where it is missing."""
    if not BASE_ARCHIVE.is_file():
        _debootstrap()
    if subprocess.run([*PODMAN, "image", "exists", BASE], check=False).returncode:
        _podman("import", str(BASE_ARCHIVE), BASE)
    return BASE


def _debootstrap() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root, archive = Path(folder) / "root", Path(folder) / "base.tar"
        command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", RELEASE]
        subprocess.run([*command, str(root)], stdout=subprocess.DEVNULL, check=True)
        shutil.rmtree(root / "var/cache/apt/archives")
        subprocess.run(["tar", "-C", str(root), "-c", "-f", str(archive), "."], check=True)
        archive.rename(BASE_ARCHIVE)


def _podman(*arguments: str) -> str:
    done = subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _import(node: Node, archive: Path, *, image: str, identity: str) -> None:
    ctr(node, "images", "import", str(archive))
    _list(node).write_text(json.dumps({**_loaded(node), image: identity}))


def _loaded(node: Node) -> dict[str, str]:
    """What was imported by this program, by name."""
    file = _list(node)
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _list(node: Node) -> Path:
    return node.disk / "containerd" / "loaded.json"


def _pause_archive(program: bytes) -> bytes:
    layer = _tar({"pause": program})
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    files = {"manifest.json": manifest, "config.json": config}
    return _tar({"layer.tar": layer, **{name: _json(it) for name, it in files.items()}})


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _json(it: object) -> bytes:
    return json.dumps(it).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
