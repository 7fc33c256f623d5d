"""Starts and ends the whole cluster, phase by phase."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import (
    binaries,
    control_plane,
    images,
    kernel,
    kubeconfigs,
    network,
    nodes,
    packages,
    pki,
    processes,
)
from e2e.cluster.addresses import NODES, Node
from e2e.cluster.kubectl import kubectl, succeeds
from e2e.cluster.locks import alone
from e2e.cluster.places import DISK, KUBECONFIG, LOGS, OF_TESTS, RUN
from e2e.cluster.unfit import Unfit

READY_S = 120
OTHERS = "this machine is a node of another Kubernetes (KUBE- in iptables), which this would end"
MOUNTS = Path("/proc/self/mountinfo")


def refuse_this_machine() -> str:
    """Why there can be no cluster here; empty where there can."""
    if sys.platform != "linux":
        return "the cluster needs Linux"
    if os.geteuid() != 0:
        return "the cluster needs root: it makes bridges, mounts and cgroups"
    if _is_anothers_node():
        return OTHERS
    if not shutil.which("go") and binaries.missing():
        return "the cluster's programs have to be built, which needs Go"
    return ""


def up(*, by_tests: bool = False) -> None:
    """Does nothing where the cluster is up; what an interrupted start or end left goes first.

    One that tests make has a mark; one that was made by hand stays without it when tests start it
    anew, and whoever asks for it by hand has it from then on.
    """
    if reason := refuse_this_machine():
        raise Unfit(reason)
    packages.extend_path()
    with alone("cluster"):
        of_tests = by_tests and (OF_TESTS.exists() or not RUN.exists())
        if not is_up():
            _start(of_tests=of_tests)
        elif not by_tests:
            OF_TESTS.unlink(missing_ok=True)
    say(f"export KUBECONFIG={KUBECONFIG}")


def down() -> None:
    """Images, programs and logs stay."""
    packages.extend_path()
    with alone("cluster"), _phase("cluster down"):
        if _is_anothers_node():
            raise Unfit(OTHERS)
        _clean()


def _is_anothers_node() -> bool:
    """Rules of Kubernetes carry no name, and those of a cluster made here go before its folder."""
    return not RUN.exists() and network.has_kubernetes_rules()


def _start(*, of_tests: bool) -> None:
    with _phase("packages of the distribution"):
        packages.install()
    with _phase("programs"):
        binaries.build()
    with _phase("leftovers of an interrupted cluster"):
        _clean()
    started = time.monotonic()
    with _phase("certificates and bridges"):
        RUN.mkdir(mode=0o755)
        if of_tests:
            OF_TESTS.touch()
        pki.make()
        kubeconfigs.write("admin", to=KUBECONFIG)
        kernel.keep()
        network.up()
    with _phase("control plane"):
        control_plane.start()
    with _phase("nodes"):
        for node in NODES:
            nodes.start_containerd(node)
        images.load_pause()
        for node in NODES:
            _start_kubelet(node)
        processes.wait("the cluster to be ready", _is_ready, within_s=READY_S)
    say(f"cluster up in {time.monotonic() - started:.1f} s; logs: {LOGS}")


def _start_kubelet(node: Node) -> None:
    """Until it is Ready: two that start at once take the one socket of device plugins together,
    whose place no option moves, and one of them ends."""
    kubelet = nodes.start_kubelet(node)
    processes.wait(
        f"{node.name} to be Ready",
        lambda: node.name in _ready_nodes(),
        within_s=READY_S,
        process=kubelet,
    )


def is_up() -> bool:
    expected = {*control_plane.CLIENTS, "apiserver", "etcd"} | {
        f"{kind}-{node.name}" for node in NODES for kind in ("containerd", "kubelet")
    }
    return all(processes.is_running(name) for name in expected) and _is_ready()


def _is_ready() -> bool:
    return _ready_nodes() == {node.name for node in NODES} and succeeds(
        "-n", "default", "get", "serviceaccount", "default"
    )


def _ready_nodes() -> set[str]:
    if not succeeds("get", "nodes"):
        return set()
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    path = f"jsonpath={{range .items[*]}}{{.metadata.name}}={ready} {{end}}"
    told = kubectl("get", "nodes", "-o", path).split()
    return {each.removesuffix("=True") for each in told if each.endswith("=True")}


def _clean() -> None:
    """Ends what stands, in an order in which nothing is started anew, and removes what it made."""
    for node in NODES:
        nodes.end_kubelet(node)
    for node in NODES:
        nodes.end_containerd(node)
    processes.end(*control_plane.CLIENTS)
    processes.end("apiserver")
    processes.end("etcd")
    processes.end(*processes.kept())
    if shutil.which("iptables"):
        network.down()
    kernel.restore()
    _unmount()
    for node in NODES:
        nodes.wipe(node)
    for left in (RUN, DISK / "etcd", DISK / "pki", DISK / "kubeconfigs"):
        shutil.rmtree(left, ignore_errors=True)
    KUBECONFIG.unlink(missing_ok=True)


def _unmount() -> None:
    """The newest first, since one may lie within another."""
    mounted = [Path(line.split()[4]) for line in MOUNTS.read_text().splitlines()]
    for place in reversed(mounted):
        if place.is_relative_to(RUN) or place.is_relative_to(DISK):
            subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def _phase(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    say(f"{time.monotonic() - started:7.1f} s  {name}")


def say(line: str) -> None:
    print(line, flush=True)
