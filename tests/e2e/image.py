"""The image that the cases run: built by `make image` on a base that needs no registry.

Its tag is made from what goes into it, so that an unchanged one is built once. Knows nothing of the
chart.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from e2e.cluster import images
from e2e.cluster.locks import alone

ROOT = Path(__file__).parents[2]
REPOSITORY = "localhost/r3mes"
CERTIFICATES = Path("/etc/ssl/certs")
GOES_IN = (
    ".dockerignore",
    "Dockerfile.gpu",
    "README.md",
    "hatch_build.py",
    "pyproject.toml",
    "requirements",
    "service/r3mes",
)
BUILD_S = 3600
# Some machines refuse to raise limits above these, or to run a bridge for a build.
FLAGS = ("--network host", "--ulimit nofile=1024:1024", "--ulimit nproc=1000:1000")


class Image(NamedTuple):
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def named(name: str) -> Image:
    repository, _, tag = name.rpartition(":")
    return Image(repository, tag)


def build() -> Image:
    """As podman's store has it, built where it is missing there."""
    wheels = _wheels()
    image = Image(REPOSITORY, f"e2e-{_digest(wheels)}")
    with alone("image"):
        if subprocess.run([*images.PODMAN, "image", "exists", str(image)], check=False).returncode:
            _make(image, base=images.base(), wheels=wheels)
    return image


def forget_all_but(image: Image) -> None:
    """Each takes its room in podman's store and in both nodes, and is seldom wanted again."""
    images.forget(*(it for it in images.tagged(f"{REPOSITORY}:e2e-*") if it != str(image)))


def _make(image: Image, *, base: str, wheels: Path | None) -> None:
    flags = list(FLAGS)
    if CERTIFICATES.is_dir():
        flags.append(f"-v {CERTIFICATES}:{CERTIFICATES}:ro")
    command = ["make", "--no-print-directory", "image", f"IMAGE={image}", f"BASE={base}"]
    command += [f"CONTAINER={' '.join(images.PODMAN)}", f"BUILD_FLAGS={' '.join(flags)}"]
    command += [f"WHEELS={wheels or ''}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=BUILD_S
    )
    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-4000:]


def _wheels() -> Path | None:
    """A folder with a CPU build of torch: the one given, else one that lies beside the checkout."""
    given = os.environ.get("WHEELS", "")
    beside = ROOT.parent / "shared" / "wheels"
    if given:
        return Path(given).resolve()
    return beside if beside.is_dir() else None


def _digest(wheels: Path | None) -> str:
    seen = hashlib.sha256()
    for path in _files():
        seen.update(f"{path.relative_to(ROOT)}\0".encode())
        seen.update(path.read_bytes())
    for wheel in sorted(wheels.glob("*.whl")) if wheels else []:
        seen.update(wheel.name.encode())
    return seen.hexdigest()[:12]


def _files() -> Iterator[Path]:
    for name in GOES_IN:
        place = ROOT / name
        if place.is_file():
            yield place
        for path in sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
                yield path
