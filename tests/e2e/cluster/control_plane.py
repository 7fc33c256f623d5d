"""Starts etcd, the API server, its controllers, the scheduler, the proxy and the cluster's DNS."""

import json
import shutil

from e2e.cluster import kubeconfigs, pki, processes
from e2e.cluster.addresses import HOST, NODES, PODS, SERVICES
from e2e.cluster.kubectl import apply, succeeds
from e2e.cluster.places import BIN, DISK

ETCD = "http://127.0.0.1:12379"
ETCD_PEERS = "http://127.0.0.1:12380"
API_S = 60
CLIENTS = ("coredns", "kube-proxy", "scheduler", "controller-manager")  # of the API server


def start() -> None:
    for user in ("controller-manager", "scheduler", "proxy", "coredns"):
        kubeconfigs.write(user)
    _start_etcd()
    processes.start("apiserver", [str(BIN / "kube-apiserver"), *_api_server_flags()])
    _wait_for("apiserver", "/readyz")
    _start_controllers()
    _start_proxy()
    _start_dns()


def _start_etcd() -> None:
    data = DISK / "etcd"
    shutil.rmtree(data, ignore_errors=True)
    flags = [f"--data-dir={data}", "--unsafe-no-fsync", "--logger=zap", "--log-level=warn"]
    flags += [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
    flags += [f"--listen-peer-urls={ETCD_PEERS}", f"--initial-advertise-peer-urls={ETCD_PEERS}"]
    flags += [f"--initial-cluster=default={ETCD_PEERS}"]
    processes.start("etcd", [str(BIN / "etcd"), *flags])


def _api_server_flags() -> list[str]:
    authority = pki.certificate("ca")
    return [
        f"--etcd-servers={ETCD}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={authority}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        "--kubelet-preferred-address-types=InternalIP",  # no DNS knows the nodes' names
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={pki.certificate('apiserver-kubelet')}",
        f"--kubelet-client-key={pki.key('apiserver-kubelet')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki.certificate('service-accounts')}",
        f"--service-account-signing-key-file={pki.key('service-accounts')}",
        f"--requestheader-client-ca-file={pki.certificate('front-proxy-ca')}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.certificate('front-proxy')}",
        f"--proxy-client-key-file={pki.key('front-proxy')}",
    ]


def _start_controllers() -> None:
    for name in ("controller-manager", "scheduler"):
        config = kubeconfigs.path(name)
        flags = ["--leader-elect=false", f"--bind-address={HOST}", f"--kubeconfig={config}"]
        flags += [f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"]
        flags += _controllers_flags() if name == "controller-manager" else []
        processes.start(name, [str(BIN / f"kube-{name}"), *flags])


def _controllers_flags() -> list[str]:
    return [
        "--use-service-account-credentials",
        f"--root-ca-file={pki.certificate('ca')}",
        f"--service-account-private-key-file={pki.key('service-accounts')}",
    ]


def _start_proxy() -> None:
    """One for both nodes, since they share this machine's rules."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfigs.path("proxy"))},
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODES[0].name,
        "healthzBindAddress": f"{HOST}:10256",
        "metricsBindAddress": f"{HOST}:10249",
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0},
        "iptables": {"minSyncPeriod": "100ms"},
    }
    file = DISK / "kube-proxy.json"
    file.write_text(json.dumps(config, indent=2))
    processes.start("kube-proxy", [str(BIN / "kube-proxy"), f"--config={file}"])


CORE_FILE = """\
cluster.local in-addr.arpa ip6.arpa {{
    bind {host}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig} r3mes-e2e
        pods insecure
    }}
    loadbalance
}}
. {{
    bind {host}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def _start_dns() -> None:
    """Knows the cluster's names and no others."""
    reads = [{"apiGroups": [""], "resources": ["services", "pods", "namespaces"]}]
    reads += [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}]
    rbac, name = "rbac.authorization.k8s.io", "r3mes-e2e-coredns"
    role = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{**it, "verbs": ["list", "watch"]} for it in reads],
    }
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "name": "coredns", "apiGroup": rbac}],
    }
    apply(role, binding)
    file = DISK / "Corefile"
    file.write_text(CORE_FILE.format(host=HOST, kubeconfig=kubeconfigs.path("coredns")))
    processes.start("coredns", [str(BIN / "coredns"), "-conf", str(file)])


def _wait_for(process: str, path: str) -> None:
    processes.wait(
        f"{process} to answer {path}",
        lambda: succeeds("get", f"--raw={path}"),
        within_s=API_S,
        process=process,
    )
