"""Builds the cluster's programs from Go modules that are pinned by version and hash.

A folder of `tools/` is one build; what it made is kept under a name that changes with the folder's
files, so that only a new version is built anew. Knows nothing of what the programs do.
"""

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.locks import alone
from e2e.cluster.places import BIN, BUILT
from e2e.cluster.unfit import Unfit

TOOLS = Path(__file__).parent / "tools"
KUBERNETES = "1.34.4"  # kubelet 1.35 and later refuse cgroup v1


@dataclass(frozen=True)
class Build:
    folder: str
    programs: dict[str, str]  # the name of a program: its package
    variables: dict[str, str] = field(default_factory=dict)  # set by the linker

    def key(self) -> str:
        seen = hashlib.sha256(repr(sorted(self.variables.items())).encode())
        for file in sorted((TOOLS / self.folder).iterdir()):
            seen.update(file.read_bytes())
        return f"{self.folder}-{seen.hexdigest()[:12]}"


VERSION = "k8s.io/component-base/version"
BUILDS = (
    Build("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}),
    Build(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kubectl",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
                "kubelet",
            )
        },
        {
            f"{VERSION}.gitVersion": f"v{KUBERNETES}",
            f"{VERSION}.gitMajor": KUBERNETES.split(".")[0],
            f"{VERSION}.gitMinor": KUBERNETES.split(".")[1],
        },
    ),
    Build("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Build("coredns", {"coredns": "github.com/coredns/coredns"}),
    Build("pause", {"pause": "r3mes/tools/pause"}),
)
# What single cases want beside the cluster.
EXTRAS = (
    Build("helm4", {"helm4": "helm.sh/helm/v4/cmd/helm"}),
    Build("traefik", {"traefik": "github.com/traefik/traefik/v3/cmd/traefik"}),
    Build("jaeger", {"jaeger": "github.com/jaegertracing/jaeger/cmd/all-in-one"}),
)


def build(builds: tuple[Build, ...] = BUILDS) -> dict[str, float]:
    """Makes what is missing; the seconds that each build took."""
    BIN.mkdir(parents=True, exist_ok=True)
    return {it.folder: _build(it) for it in builds}


def missing(builds: tuple[Build, ...] = BUILDS) -> list[str]:
    return [it.folder for it in builds if not _is_built(it)]


def _is_built(it: Build) -> bool:
    return all((BUILT / it.key() / name).is_file() for name in it.programs)


def _build(it: Build) -> float:
    started = time.monotonic()
    with alone(f"build-{it.folder}"):
        if not _is_built(it):
            _compile(it)
        _link(it)
    return time.monotonic() - started


def _link(it: Build) -> None:
    for name in it.programs:
        link = BIN / f".{name}"
        link.unlink(missing_ok=True)
        link.symlink_to(BUILT / it.key() / name)
        link.replace(BIN / name)


def _compile(it: Build) -> None:
    """Into a folder aside, so that an interrupted build is never taken for a finished one."""
    if not shutil.which("go"):
        raise Unfit(f"{it.folder} has to be built, which needs Go: https://go.dev/doc/install")
    _fetch(it)
    aside = BUILT / f".{it.key()}"
    flags = " ".join(["-s", "-w", *(f"-X {name}={to}" for name, to in it.variables.items())])
    for name, package in it.programs.items():
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(aside / name), package],
            cwd=TOOLS / it.folder,
            env=_environ(),
            check=True,
        )
    shutil.rmtree(BUILT / it.key(), ignore_errors=True)
    aside.rename(BUILT / it.key())


def _fetch(it: Build) -> None:
    """The sources of all it needs, apart from the build: only this part needs a network."""
    done = subprocess.run(
        ["go", "list", "-deps", *it.programs.values()],
        cwd=TOOLS / it.folder,
        env=_environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise Unfit(f"the sources of {it.folder} cannot be fetched: {reason}")


def _environ() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
