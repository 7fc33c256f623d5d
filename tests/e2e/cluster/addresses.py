"""The addresses and names that the parts of the cluster know each other by."""

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.places import DISK, RUN

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"  # the first of SERVICES: the address of `kubernetes.default`


@dataclass(frozen=True)
class Node:
    """One kubelet with a containerd and a bridge of its own."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number + 1}"

    @property
    def address(self) -> str:
        return f"10.244.{self.number}.1"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number}.0/24"

    @property
    def bridge(self) -> str:
        return f"r3mes{self.number}"

    @property
    def hardware_address(self) -> str:
        """Of the bridge; administered by hand, as its second digit says."""
        return f"02:00:0a:f4:{self.number:02x}:01"

    @property
    def cgroup(self) -> str:
        """Of its own: a kubelet ends every pod it does not know below its root."""
        return f"/r3mes-{self.name}"

    @property
    def disk(self) -> Path:
        return DISK / self.name

    @property
    def run(self) -> Path:
        return RUN / self.name

    @property
    def socket(self) -> Path:
        return self.run / "containerd.sock"


NODES = (Node(0), Node(1))
HOST = NODES[0].address  # the control plane listens here: pods reach it, other machines do not
API = f"https://{HOST}:6443"
