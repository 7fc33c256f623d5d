"""Starts and ends a node: a containerd and a kubelet. Knows nothing of what runs on it."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from e2e.cluster import cgroups, kubeconfigs, packages, pki, processes
from e2e.cluster.addresses import HOST, Node
from e2e.cluster.places import BIN

CONTAINERD_S = 60
END_S = 20
LOG_LINKS = Path("/var/log/containers")  # of every kubelet; no option moves them
PAUSE = "localhost/pause:1"

CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true # some machines refuse negative scores
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"""


def start_containerd(node: Node) -> None:
    """Images stay from one cluster to the next; containers that an interrupted one left do not."""
    networks = node.run / "cni"
    networks.mkdir(parents=True)
    node.disk.mkdir(parents=True, exist_ok=True)
    (networks / "10-bridge.conflist").write_text(json.dumps(_network(node), indent=2))
    (node.run / "containerd.toml").write_text(
        CONTAINERD.format(
            root=node.disk / "containerd",
            state=node.run / "containerd",
            socket=node.socket,
            pause=PAUSE,
            plugins=packages.cni_plugins(),
            networks=networks,
        )
    )
    _run_containerd(node)
    if ctr(node, "containers", "ls", "-q"):
        _remove_containers(node)
        processes.end(_containerd(node))
        _run_containerd(node)  # it reads at its start alone which containers there are


def start_kubelet(node: Node) -> str:
    """The name of its process."""
    kubeconfigs.write(node.name)
    cgroups.make(node.cgroup)
    resolver = node.run / "resolv.conf"
    resolver.write_text(f"nameserver {HOST}\n")
    config = node.run / "kubelet.json"
    config.write_text(json.dumps(_kubelet(node, resolver=resolver), indent=2))
    command = [str(BIN / "kubelet"), f"--config={config}", f"--root-dir={node.disk / 'kubelet'}"]
    command += [f"--kubeconfig={kubeconfigs.path(node.name)}", f"--hostname-override={node.name}"]
    name = _kubelet_name(node)
    processes.start(name, [*command, f"--node-ip={node.address}"])
    return name


def end_kubelet(node: Node) -> None:
    processes.end(_kubelet_name(node))


def end_containerd(node: Node) -> None:
    """And every container it has."""
    cgroups.end_all(node.cgroup)
    if processes.is_running(_containerd(node)):
        _remove_containers(node)
    processes.end(_containerd(node))
    for pid in _shims(node):
        processes.send(pid, signal.SIGKILL)
    processes.wait(
        f"the processes of {node.name} to end",
        lambda: cgroups.is_empty(node.cgroup) and not _shims(node),
        within_s=END_S,
    )
    cgroups.remove(node.cgroup)


def ctr(node: Node, *arguments: str) -> str:
    done = subprocess.run(_ctr(node, *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ctr {' '.join(arguments)} on {node.name}: {done.stderr.strip()}")
    return done.stdout


def _ctr(node: Node, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(node.socket), "--namespace", "k8s.io", *arguments]


def _remove_containers(node: Node) -> None:
    processes.wait(
        f"the containers of {node.name} to go",
        lambda: _removed(node, "tasks", "--force") and _removed(node, "containers"),
        within_s=END_S,
    )


def _removed(node: Node, kind: str, *flags: str) -> bool:
    """Whether none is left; one that goes by itself meanwhile is no failure."""
    left = ctr(node, kind, "ls", "-q").split()
    if left:
        subprocess.run(_ctr(node, kind, "rm", *flags, *left), capture_output=True, check=False)
    return not left


def _run_containerd(node: Node) -> None:
    command = ["containerd", "--config", str(node.run / "containerd.toml"), "--log-level", "warn"]
    processes.start(_containerd(node), command)
    processes.wait(
        f"containerd of {node.name}",
        lambda: node.socket.is_socket() and _answers(node),
        within_s=CONTAINERD_S,
        process=_containerd(node),
    )


def _answers(node: Node) -> bool:
    asked = ["ctr", "--address", str(node.socket), "version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _shims(node: Node) -> list[int]:
    """The parents of the containers; they outlive containerd, and its socket is in their words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]).startswith("containerd-shim") and str(node.socket) in words:
            found.append(int(file.parent.name))
    return found


def _containerd(node: Node) -> str:
    return f"containerd-{node.name}"


def _kubelet_name(node: Node) -> str:
    return f"kubelet-{node.name}"


def _network(node: Node) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pods, "gateway": node.address}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(node.run / "addresses"),
    }
    bridge = {"type": "bridge", "bridge": node.bridge, "isGateway": True, "hairpinMode": True}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = [{**bridge, "ipam": addresses}, portmap]
    return {"cniVersion": "0.4.0", "name": node.bridge, "plugins": plugins}


def _kubelet(node: Node, *, resolver: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzBindAddress": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki.certificate(node.name)),
        "tlsPrivateKeyFile": str(pki.key(node.name)),
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failSwapOn": False,
        # As in cgroups of version 1: whoever is left of a container says who was killed.
        "singleProcessOOMKill": True,
        "oomScoreAdj": 0,
        "clusterDNS": [HOST],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "podLogsDir": str(node.disk / "pod-logs"),
        "volumePluginDir": str(node.disk / "volume-plugins"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    }


def wipe(node: Node) -> None:
    """What a node leaves on disk, except for its images and logs."""
    for left in ("kubelet", "pod-logs", "volume-plugins"):
        shutil.rmtree(node.disk / left, ignore_errors=True)
    for link in LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(node.disk):
            link.unlink()
