"""Makes the cluster's certificates by openssl, anew for each start.

Knows nothing of who reads them.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.addresses import API_SERVICE, HOST, NODES
from e2e.cluster.places import PKI

DAYS = "30"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    name: str
    subject: str
    alternatives: str = ""  # subjectAltName
    authority: str = "ca"


SERVED = "kubernetes,kubernetes.default,kubernetes.default.svc,kubernetes.default.svc.cluster.local"
CERTIFICATES = (
    Certificate(
        "apiserver",
        "/CN=kube-apiserver",
        ",".join(f"DNS:{name}" for name in SERVED.split(","))
        + f",IP:127.0.0.1,IP:{API_SERVICE},IP:{HOST}",
    ),
    Certificate("apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet"),
    Certificate("front-proxy", "/CN=front-proxy", authority="front-proxy-ca"),
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("scheduler", "/CN=system:kube-scheduler"),
    Certificate("proxy", "/CN=system:kube-proxy"),
    Certificate("coredns", "/CN=coredns"),
    Certificate("service-accounts", "/CN=service-accounts"),  # its key signs their tokens
    *(
        Certificate(
            node.name,
            f"/O=system:nodes/CN=system:node:{node.name}",
            f"DNS:{node.name},IP:{node.address}",
        )
        for node in NODES
    ),
)


def make() -> None:
    shutil.rmtree(PKI, ignore_errors=True)
    PKI.mkdir(parents=True, mode=0o700)
    (PKI / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    for authority in ("ca", "front-proxy-ca"):
        _request(authority, f"/CN=r3mes-e2e-{authority}", ["basicConstraints=critical,CA:TRUE"])
    for it in CERTIFICATES:
        extensions = [f"subjectAltName={it.alternatives}"] if it.alternatives else []
        _request(it.name, it.subject, extensions, signed_by=it.authority)


def certificate(name: str) -> Path:
    return PKI / f"{name}.crt"


def key(name: str) -> Path:
    return PKI / f"{name}.key"


def _request(name: str, subject: str, extensions: list[str], *, signed_by: str = "") -> None:
    command: list[str | Path] = ["req", "-x509", "-config", PKI / "openssl.cnf", *EC]
    command += ["-days", DAYS, "-subj", subject, "-keyout", key(name), "-out", certificate(name)]
    for extension in extensions:
        command += ["-addext", extension]
    if signed_by:
        command += ["-CA", certificate(signed_by), "-CAkey", key(signed_by)]
    _openssl(*command)


def _openssl(*command: str | Path) -> None:
    done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {command[0]} failed: {done.stderr.strip()}")
