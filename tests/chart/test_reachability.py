"""NetworkPolicies open what a release needs and nothing else; the matrices were checked by hand."""

from typing import Any

import pytest

from support.chart import Chart, of_kind
from support.reachability import Peer, Port, reaches, selects
from support.release_peers import GOLDEN, NAMESPACE, RELEASES, drawn

POD = Peer("pod", namespace="a", labels={"app": "x"}, ports={"http": 8000})
NEIGHBOUR = Peer("neighbour", namespace="a", labels={"app": "y"})
STRANGER = Peer("stranger", namespace="b", labels={"app": "y"})
OUTSIDE = Peer("outside", address="1.2.3.4")
HTTP = Port(8000)


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_reaches_and_is_reached_as_its_matrix_says(chart: Chart, name: str) -> None:
    things = chart.render(RELEASES[name])
    policies = of_kind(things, "NetworkPolicy")
    for policy in policies:
        policy["metadata"]["namespace"] = NAMESPACE

    assert (GOLDEN / f"{name}.txt").read_text() == drawn(things, policies, NAMESPACE)


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "a"}, "spec": {"podSelector": {}, **spec}}


def open_to(peer: Peer, *, port: Port = HTTP, **rule: Any) -> bool:
    policies = [policy(policyTypes=["Ingress"], ingress=[rule])]
    return reaches(peer, POD, port, policies=policies)


# What the matrices are drawn by, case by case as Kubernetes documents it.


def test_without_a_policy_everything_is_open() -> None:
    assert reaches(STRANGER, POD, HTTP, policies=[])


def test_a_policy_without_rules_closes_its_direction_alone() -> None:
    closed = [policy(policyTypes=["Ingress"])]

    assert not reaches(NEIGHBOUR, POD, HTTP, policies=closed)
    assert reaches(POD, STRANGER, HTTP, policies=closed)


def test_a_policy_is_about_the_pods_it_selects_in_its_namespace() -> None:
    closed = [policy(policyTypes=["Ingress"], podSelector={"matchLabels": {"app": "x"}})]

    assert not reaches(STRANGER, POD, HTTP, policies=closed)
    assert reaches(STRANGER, NEIGHBOUR, HTTP, policies=closed)
    assert reaches(NEIGHBOUR, STRANGER, HTTP, policies=closed)


def test_rules_of_several_policies_add_up() -> None:
    two = [
        policy(policyTypes=["Ingress"]),
        policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}]),
    ]

    assert reaches(NEIGHBOUR, POD, HTTP, policies=two)


def test_both_ends_have_to_allow_it() -> None:
    no_way_out = [policy(policyTypes=["Egress"], podSelector={"matchLabels": {"app": "y"}})]

    assert not reaches(NEIGHBOUR, POD, HTTP, policies=no_way_out)


def test_types_that_are_not_named_follow_from_the_rules() -> None:
    assert not reaches(NEIGHBOUR, POD, HTTP, policies=[policy()])
    assert reaches(POD, STRANGER, HTTP, policies=[policy()])
    assert not reaches(POD, STRANGER, HTTP, policies=[policy(egress=[{"ports": [{"port": 1}]}])])


def test_a_pod_selector_alone_means_the_same_namespace() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "y"}}}]}

    assert open_to(NEIGHBOUR, **rule)
    assert not open_to(STRANGER, **rule)


def test_both_selectors_in_one_peer_have_to_match() -> None:
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": "b"}}
    both = {"namespaceSelector": namespace, "podSelector": {"matchLabels": {"app": "z"}}}

    assert open_to(STRANGER, **{"from": [{"namespaceSelector": namespace}]})
    assert not open_to(STRANGER, **{"from": [both]})
    assert not open_to(NEIGHBOUR, **{"from": [{"namespaceSelector": namespace}]})


def test_a_block_has_addresses_but_for_its_exceptions() -> None:
    block = {"cidr": "1.2.0.0/16"}

    assert open_to(OUTSIDE, **{"from": [{"ipBlock": block}]})
    assert not open_to(OUTSIDE, **{"from": [{"ipBlock": {**block, "except": ["1.2.3.0/24"]}}]})
    assert not open_to(OUTSIDE, **{"from": [{"namespaceSelector": {}}]})


def test_no_peers_mean_all_of_them() -> None:
    assert open_to(OUTSIDE, ports=[{"port": 8000}])


def test_ports_have_numbers_names_ranges_and_protocols() -> None:
    assert open_to(OUTSIDE, ports=[{"port": "http"}])
    assert not open_to(OUTSIDE, port=Port(8001), ports=[{"port": "http"}])
    assert open_to(OUTSIDE, port=Port(8001), ports=[{"port": 8000, "endPort": 8001}])
    assert not open_to(OUTSIDE, port=Port(8002), ports=[{"port": 8000, "endPort": 8001}])
    assert not open_to(OUTSIDE, port=Port(8000, "UDP"), ports=[{"port": 8000}])
    assert open_to(OUTSIDE, port=Port(9, "UDP"), ports=[{"protocol": "UDP"}])


@pytest.mark.parametrize(
    ("operator", "values", "chosen"),
    [
        ("In", ["a", "b"], ["a", "b"]),
        ("NotIn", ["a"], ["b", None]),
        ("Exists", [], ["a", "b"]),
        ("DoesNotExist", [], [None]),
    ],
)
def test_expressions_choose(operator: str, values: list[str], chosen: list[str | None]) -> None:
    selector = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    candidates = [{"k": "a"}, {"k": "b"}, {}]

    assert chosen == [it.get("k") for it in candidates if selects(selector, it)]
