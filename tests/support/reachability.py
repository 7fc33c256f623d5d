"""Who reaches whom where NetworkPolicies are enforced, found by reading them as Kubernetes does.

For machines whose network enforces none. Pods and addresses are given; nothing is sent.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod; without a namespace it is an address outside the cluster."""

    name: str
    address: str = "10.244.7.7"
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)  # that have a name


@dataclass(frozen=True)
class Port:
    number: int
    protocol: str = "TCP"

    def __str__(self) -> str:
        return str(self.number) if self.protocol == "TCP" else f"{self.number}/{self.protocol}"


def reaches(source: Peer, target: Peer, port: Port, *, policies: Sequence[Policy]) -> bool:
    """The one may send it, and the other may get it."""
    leaves = _allowed("Egress", source, target, port, target=target, policies=policies)
    return leaves and _allowed("Ingress", target, source, port, target=target, policies=policies)


def matrix(
    sources: Iterable[Peer],
    targets: Sequence[Peer],
    ports: Sequence[Port],
    *,
    policies: Sequence[Policy],
) -> str:
    """A line for each source, a column for each target, in it the ports that are open."""
    rows = [["from \\ to", *(target.name for target in targets)]]
    for source in sources:
        row = [source.name]
        for target in targets:
            is_open = [p for p in ports if reaches(source, target, p, policies=policies)]
            row.append(_cell(is_open, all_of=ports) if source != target else ".")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _cell(is_open: Sequence[Port], *, all_of: Sequence[Port]) -> str:
    return "all" if len(is_open) == len(all_of) else ",".join(map(str, is_open)) or "-"


def _allowed(
    direction: str,
    subject: Peer,
    other: Peer,
    port: Port,
    *,
    target: Peer,
    policies: Sequence[Policy],
) -> bool:
    """A pod that no policy is about is open; else one rule of one policy has to allow it."""
    about = [it for it in policies if direction in _types(it) and _is_about(it, subject)]
    if not about:
        return True
    return any(
        _ports_match(rule, port, target) and _peers_match(rule, direction, other, policy)
        for policy in about
        for rule in policy["spec"].get(direction.lower()) or []
    )


def _types(policy: Policy) -> list[str]:
    spec = policy["spec"]
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _is_about(policy: Policy, peer: Peer) -> bool:
    selected = selects(policy["spec"].get("podSelector") or {}, peer.labels)
    return policy["metadata"]["namespace"] == peer.namespace and selected


def _ports_match(rule: Rule, port: Port, target: Peer) -> bool:
    named = rule.get("ports") or []
    return not named or any(_port_matches(it, port, target) for it in named)


def _port_matches(named: Mapping[str, Any], port: Port, target: Peer) -> bool:
    if named.get("protocol", "TCP") != port.protocol:
        return False
    first = named.get("port", port.number)
    if isinstance(first, str):
        return target.ports.get(first) == port.number
    return bool(first <= port.number <= named.get("endPort", first))


def _peers_match(rule: Rule, direction: str, other: Peer, policy: Policy) -> bool:
    named = rule.get("from" if direction == "Ingress" else "to") or []
    return not named or any(_peer_matches(it, other, policy) for it in named)


def _peer_matches(named: Mapping[str, Any], other: Peer, policy: Policy) -> bool:
    if "ipBlock" in named:
        return _in_block(named["ipBlock"], other.address)
    if not other.namespace:
        return False
    if "namespaceSelector" in named:
        its_namespace = {"kubernetes.io/metadata.name": other.namespace}
        is_there = selects(named["namespaceSelector"], its_namespace)
    else:
        is_there = policy["metadata"]["namespace"] == other.namespace
    return is_there and selects(named.get("podSelector") or {}, other.labels)


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    place = ipaddress.ip_address(address)
    inside = place in ipaddress.ip_network(block["cidr"])
    return inside and not any(place in ipaddress.ip_network(it) for it in block.get("except", ()))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """An empty selector selects everything."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(expression["operator"])
