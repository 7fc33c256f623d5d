"""What the cluster changes in this machine's kernel: kept before it starts, put back after it."""

from pathlib import Path

from e2e.cluster.places import RUN

SYSTEM = Path("/proc/sys")
BEFORE = RUN / "kernel"
CHANGED = (
    # by the bridges and the proxy
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    # by a kubelet
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def keep(*, system: Path = SYSTEM, before: Path = BEFORE) -> None:
    """As far as they are there: that of bridges comes with a module."""
    for name in CHANGED:
        if (system / name).is_file():
            kept = before / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text((system / name).read_text())


def restore(*, system: Path = SYSTEM, before: Path = BEFORE) -> None:
    """Only what is another now: some machines refuse every writing."""
    for name in CHANGED:
        kept, now = before / name, system / name
        if kept.is_file() and kept.read_text() != now.read_text():
            now.write_text(kept.read_text())
