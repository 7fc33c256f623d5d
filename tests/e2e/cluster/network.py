"""The nodes' bridges on this machine and the rules of who may speak across them.

Pods reach each other, the Services and this machine, and nothing else: an installation that needs
the internet fails here.
"""

import shlex
import shutil
import subprocess
from pathlib import Path

from e2e.cluster.addresses import NODES, PODS
from e2e.cluster.places import BIN, RUN

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
RULES = (  # the last one stands first
    f"FORWARD --destination {PODS} --jump ACCEPT",
    f"FORWARD --source {PODS} ! --destination {PODS} --jump REJECT",
    f"FORWARD --source {PODS} --destination {PODS} --jump ACCEPT",
)
KEPT = Path("/var/lib/cni/results")  # of networks of containers; a killed one's would stay
TABLES = ("filter", "nat", "mangle")


def up() -> None:
    FORWARD.write_text("1")
    if not BRIDGED.exists():
        _run("modprobe", "br_netfilter")
    BRIDGED.write_text("1")  # answers of a Service have to pass the rules that rewrote its address
    for node in NODES:
        # Else it would take one of its ports', and change it as pods come and go: others would send
        # to the old one until they ask again.
        _run("ip", "link", "add", node.bridge, "address", node.hardware_address, "type", "bridge")
        _run("ip", "address", "add", f"{node.address}/24", "dev", node.bridge)
        _run("ip", "link", "set", node.bridge, "up")
    for rule in RULES:
        _run("iptables", "-w", "-I", *rule.split())


def down() -> None:
    for rule in RULES:
        _try("iptables", "-w", "-D", *rule.split())
    _remove_kubernetes_rules()
    for node in NODES:
        if Path("/sys/class/net", node.bridge).exists():
            _run("ip", "link", "delete", node.bridge)
    for left in KEPT.glob("*"):
        if str(RUN) in left.read_text():
            left.unlink()


def has_kubernetes_rules() -> bool:
    """Whether a kubelet is or was at work here, this cluster's or another's."""
    return bool(shutil.which("iptables")) and any(map(_kubernetes_chains, TABLES))


def _remove_kubernetes_rules() -> None:
    """kube-proxy removes its own; the few that the kubelets made go by hand."""
    proxy = BIN / "kube-proxy"
    if _kubernetes_chains("nat") and proxy.exists():
        _try(str(proxy), "--cleanup")
    for table in TABLES:
        chains = _kubernetes_chains(table)
        for rule in _listed(table):
            if rule[0] == "-A" and rule[-1] in chains:
                _try("iptables", "-w", "-t", table, "-D", *rule[1:])
        for step in ("-F", "-X"):
            for chain in chains:
                _try("iptables", "-w", "-t", table, step, chain)


def _kubernetes_chains(table: str) -> list[str]:
    return [rule[1] for rule in _listed(table) if rule[0] == "-N" and rule[1].startswith("KUBE-")]


def _listed(table: str) -> list[list[str]]:
    return [shlex.split(line) for line in _run("iptables", "-w", "-t", table, "-S").splitlines()]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _try(*command: str) -> None:
    """What is not there need not be removed."""
    subprocess.run(command, capture_output=True, check=False)
