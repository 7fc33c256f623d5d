"""The cluster itself keeps what the other cases take for granted."""

import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.clients import Kubectl, Refused, wait_until
from e2e.cluster import gpus, images, nodes, processes
from e2e.cluster.addresses import NODES
from e2e.cluster.locks import Users
from e2e.cluster.places import OF_TESTS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("own_cluster"),
    pytest.mark.timeout(300, func_only=True),
]

SERVE = """
import http.server, os
os.chdir("/etc")
print("serving", flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)
"""
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
REACH = "import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=5)"
KILLED = ("kubelet-node-1", "containerd-node-1", "apiserver", "etcd")
WEB = "http://web:8000/hostname"
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=web", "--timeout=60s")


@pytest.fixture(scope="session", autouse=True)
def _images(own_cluster: Callable[[], None], load_images: Callable[..., None]) -> None:
    load_images(images.base())


def container(program: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "main",
        "image": images.BASE,
        "command": ["python3", "-c", program],
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **more,
    }


def pod_spec(program: str, **more: Any) -> dict[str, Any]:
    return {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 1,
        "containers": [container(program, **more)],
    }


def pod(name: str, program: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {**pod_spec(program, **more), "restartPolicy": "Never"},
    }


def web() -> list[dict[str, Any]]:
    """Two servers, apart from each other, behind a Service."""
    labels = {"app": "web"}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    probe = {"httpGet": {"path": "/hostname", "port": 8000}, "periodSeconds": 1}
    spec = {**pod_spec(SERVE, readinessProbe=probe), "topologySpreadConstraints": [spread]}
    deployment = {"replicas": 2, "selector": {"matchLabels": labels}}
    deployment["template"] = {"metadata": {"labels": labels}, "spec": spec}
    service = {"selector": labels, "ports": [{"port": 8000}]}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    named = {"metadata": {"name": "web"}}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", **named, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", **named, "spec": service},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **named, "spec": budget},
    ]


@pytest.fixture
def servers(kubectl: Kubectl) -> Kubectl:
    """kubectl in a namespace where `web` serves."""
    assert "" == kubectl.apply(*web())  # no warning
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return kubectl


def nodes_of(kubectl: Kubectl) -> list[str]:
    running = kubectl.items("pods", "--selector=app=web", "--field-selector=status.phase=Running")
    alive = [it for it in running if "deletionTimestamp" not in it["metadata"]]
    return sorted(it["spec"]["nodeName"] for it in alive)


def test_restricted_pods_run_on_each_node(servers: Kubectl) -> None:
    assert [node.name for node in NODES] == nodes_of(servers)

    logs = servers("logs", "--selector=app=web", "--prefix")
    assert 2 == len({line.split()[0] for line in logs.splitlines() if "serving" in line})


def test_a_service_leads_to_each_of_its_pods(servers: Kubectl) -> None:
    names = {it["metadata"]["name"] for it in servers.items("pods")}
    asked = (servers("exec", name, "--", "python3", "-c", ASK, WEB) for name in [*names] * 10)

    assert names == {answer.strip() for answer in asked}


def test_port_forward_leads_to_a_service(servers: Kubectl) -> None:
    with (
        servers.forwarded("service/web", 8000) as address,
        urllib.request.urlopen(f"{address}/hostname", timeout=10) as answer,  # noqa: S310 - loopback
    ):
        assert 200 == answer.status


def test_a_pod_reaches_the_api_server_and_nothing_outside(servers: Kubectl) -> None:
    servers("exec", "deployment/web", "--", "python3", "-c", REACH, "kubernetes.default")

    with pytest.raises(Refused, match=r"ConnectionRefusedError|unreachable"):
        servers("exec", "deployment/web", "--", "python3", "-c", REACH, "1.1.1.1")
    with pytest.raises(Refused, match="gaierror"):
        servers("exec", "deployment/web", "--", "python3", "-c", REACH, "example.org")


def test_a_drained_node_keeps_the_budget_and_comes_back(servers: Kubectl) -> None:
    last = NODES[-1].name
    try:
        servers("drain", last, *DRAIN)
        servers("rollout", "status", "deployment/web", "--timeout=60s")

        assert [NODES[0].name] * 2 == nodes_of(servers)
    finally:
        servers("uncordon", last)


def test_what_a_killed_cluster_left_goes_with_the_next_start(
    servers: Kubectl, own_cluster: Callable[[], None], users: Users
) -> None:
    of_tests = OF_TESTS.exists()
    with users.kept_away() as nobody_else:
        if not nobody_else:
            pytest.skip("other tests run on the cluster")
        for name in KILLED:
            processes.kill(name)
        own_cluster()

    assert of_tests == OF_TESTS.exists()  # it is still whose it was
    assert [] == servers.items("pods", "--all-namespaces")
    assert [] == [word for node in NODES for word in nodes.ctr(node, "tasks", "ls", "-q").split()]


@pytest.fixture
def one_gpu(admin: Kubectl) -> Iterator[str]:
    node = NODES[-1].name
    yield node
    gpus.claim(node, 0)


def test_a_pod_that_wants_a_gpu_waits_for_a_node_that_has_one(
    kubectl: Kubectl, one_gpu: str
) -> None:
    kubectl.apply(pod("wants", "print('ran')", resources={"limits": {gpus.RESOURCE: "1"}}))
    wait_until("it is unschedulable", lambda: "Insufficient nvidia.com/gpu" in kubectl("events"))
    gpus.claim(one_gpu, 1)
    kubectl("wait", "pod/wants", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")

    assert one_gpu == kubectl.get("pod", "wants")["spec"]["nodeName"]


def test_images_of_earlier_builds_leave_the_nodes(load_images: Callable[..., None]) -> None:
    earlier = "localhost/r3mes-earlier:e2e-1"
    subprocess.run([*images.PODMAN, "tag", images.BASE, earlier], check=True)
    load_images(earlier)
    loaded = in_nodes(earlier)
    found = images.tagged("localhost/r3mes-earlier:e2e-*")
    images.forget(*found)

    assert [earlier] == found  # and not the other name of the same image
    assert [True] * len(NODES) == loaded
    assert [False] * len(NODES) == in_nodes(earlier)
    assert [] == images.tagged("localhost/r3mes-earlier:e2e-*")
    assert [True] * len(NODES) == in_nodes(images.BASE)
    assert [images.BASE] == images.tagged(images.BASE)


def in_nodes(image: str) -> list[bool]:
    return [image in nodes.ctr(node, "images", "ls", "-q").split() for node in NODES]


def test_a_pod_that_takes_too_much_memory_is_killed_for_it(kubectl: Kubectl) -> None:
    greedy = "b = bytearray(200_000_000)"
    kubectl.apply(pod("greedy", greedy, resources={"limits": {"memory": "64Mi"}}))
    kubectl("wait", "pod/greedy", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    state = kubectl.get("pod", "greedy")["status"]["containerStatuses"][0]["state"]

    assert "OOMKilled" == state["terminated"]["reason"]
