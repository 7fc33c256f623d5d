"""Namespaces that a case, or the cases of a file, have for themselves."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.clients import Kubectl


@contextmanager
def new_namespace(admin: Kubectl) -> Iterator[str]:
    """Enforces Pod Security `restricted`; at the end nothing runs in it, and it goes by itself.

    That takes the cluster up to a minute more, in which the next case need not wait.
    """
    name = f"e2e-{secrets.token_hex(4)}"
    admin("create", "namespace", name)
    # A pod made before them fails. One by one: kubectl gives up at once where both are not there.
    for own in ("configmap/kube-root-ca.crt", "serviceaccount/default"):
        admin.within(name)("wait", "--for=create", own, "--timeout=30s")
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    admin("label", "namespace", name, *levels)
    try:
        yield name
    finally:
        admin("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        admin.within(name)("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        admin.within(name)("wait", "pods", "--all", "--for=delete", "--timeout=120s")
