"""The peers that the reachability of a release is asked for, and the matrices it has to equal."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.reachability import Peer, Policy, Port, matrix

Thing = Mapping[str, Any]

NAMESPACE = "ml"  # of the release
PORTS = (
    Port(8000),
    Port(53, "UDP"),
    Port(53),
    Port(80),
    Port(443),
    Port(4318),
    Port(6443),
    Port(8081),
)
GOLDEN = Path(__file__).parents[1] / "chart" / "reachability"
# The values of a release, by the matrix that it has to equal.
RELEASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "models": [
            {"name": "tiny"},
            {"name": "public", "source": {"hub": {"id": "org/model"}}},
            {
                "name": "mirrored",
                "source": {"hub": {"id": "org/model", "endpoint": "http://mirror.lan:8081"}},
            },
        ],
        "auth": {"existingSecret": "keys"},
        "config": {"telemetry": {"otlp_endpoint": "http://collector.observability:4318"}},
        "ingress": {"enabled": True, "hosts": [{"host": "chat.example.org", "model": "tiny"}]},
        "podMonitor": {"enabled": True},
    },
}


def around(namespace: str) -> list[Peer]:
    """What a release meets in a cluster and outside."""
    return [
        Peer("client", namespace=namespace, labels={"app": "client"}),
        Peer("elsewhere", namespace="elsewhere", labels={"app": "client"}),
        Peer("ingress", namespace="ingress-nginx", labels={"app": "controller"}),
        Peer("traefik", namespace="traefik", labels={"app": "traefik"}),
        Peer("prometheus", namespace="monitoring", labels={"app": "prometheus"}),
        Peer("dns", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
        Peer("collector", namespace="observability", labels={"app": "collector"}),
        Peer("api-server", address="10.244.0.1"),
        Peer("metadata", address="169.254.169.254"),
        Peer("lan", address="192.168.1.9"),
        Peer("internet", address="93.184.215.14"),
        Peer("internet6", address="2606:2800:21f::1"),
        Peer("lan6", address="fd00::9"),
    ]


def pods(things: Iterable[Thing], namespace: str) -> list[Peer]:
    """Those of the release: of its Deployments, and of `helm test`."""
    found = []
    for thing in things:
        match thing["kind"]:
            case "Deployment":
                template = thing["spec"]["template"]
            case "Pod":
                template = thing
            case _:
                continue
        found.append(_pod(thing["metadata"]["name"], template, namespace))
    return found


def _pod(name: str, template: Thing, namespace: str) -> Peer:
    named = (port for it in template["spec"]["containers"] for port in it.get("ports", []))
    return Peer(
        name.removeprefix("r3mes-"),
        namespace=namespace,
        labels=template["metadata"]["labels"],
        ports={port["name"]: port["containerPort"] for port in named},
    )


def drawn(things: Sequence[Thing], policies: Sequence[Policy], namespace: str) -> str:
    """Two matrices: who reaches the release, and whom it reaches."""
    own, others = pods(things, namespace), around(namespace)
    into = matrix([*own, *others], own, PORTS, policies=policies)
    out = matrix(own, others, PORTS, policies=policies)
    return f"{into}\n{out}"
