"""Installs what the cluster takes from the distribution, without starting or enabling a service.

Only Debian and its kin can be helped; elsewhere the missing programs are named.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.unfit import Unfit

PROGRAMS = {  # what is looked for: the package that has it
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "podman": "podman",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "sysctl": "procps",
    "openssl": "openssl",
    "nginx": "nginx-light",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PACKAGE = "containernetworking-plugins"
UNITS = ("containerd.service", "nginx.service", "prometheus.service", "podman.socket")
POLICY = Path("/usr/sbin/policy-rc.d")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def extend_path() -> None:
    """Where these programs live is not on every root's PATH."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"


def cni_plugins() -> Path | None:
    return next((folder for folder in CNI_FOLDERS if (folder / "bridge").is_file()), None)


def missing() -> list[str]:
    packages = {package for name, package in PROGRAMS.items() if not shutil.which(name)}
    return sorted(packages if cni_plugins() else packages | {CNI_PACKAGE})


def install() -> list[str]:
    """The packages that were installed now."""
    wanted = missing()
    if not wanted:
        return []
    if not shutil.which("apt-get"):
        raise Unfit(f"missing on this machine: what Debian packs as {', '.join(wanted)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    enabled = {unit for unit in UNITS if _is_enabled(unit)}
    with _no_service_starts():
        for command in (["update"], ["install", "-y", "--no-install-recommends", *wanted]):
            done = subprocess.run(["apt-get", "-qq", *command], env=environ, check=False)
            if done.returncode:
                raise Unfit(f"apt-get {command[0]} failed; wanted: {', '.join(wanted)}")
    for unit in UNITS:
        if unit not in enabled and _is_enabled(unit):
            subprocess.run(["systemctl", "disable", "--quiet", unit], check=False)
    return wanted


@contextmanager
def _no_service_starts() -> Iterator[None]:
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _is_enabled(unit: str) -> bool:
    if not shutil.which("systemctl"):
        return False
    asked = subprocess.run(["systemctl", "is-enabled", "--quiet", unit], check=False)
    return asked.returncode == 0
