"""Asks the cluster as its administrator."""

import json
import subprocess
from collections.abc import Mapping

from e2e.cluster.places import BIN, KUBECONFIG


def kubectl(*arguments: str, given: str = "") -> str:
    done = _run(*arguments, given=given)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def succeeds(*arguments: str) -> bool:
    return _run(*arguments, given="").returncode == 0


def apply(*objects: Mapping[str, object]) -> None:
    every = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl("apply", "-f", "-", given=json.dumps(every))


def _run(*arguments: str, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "kubectl"), f"--kubeconfig={KUBECONFIG}", "--request-timeout=20s", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
