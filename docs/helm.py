"""Finds helm. Owns where it may lie; knows nothing of charts."""

import os
import shutil
from pathlib import Path

CACHE = Path(os.environ.get("R3MES_E2E_CACHE") or Path.home() / ".cache" / "r3mes" / "e2e")
MISSING = (
    f"no helm: not in $HELM, not on PATH, not in {CACHE / 'bin'} (tests/e2e/cluster builds it)"
)


def find_helm(name: str = "helm") -> str | None:
    """The program, where there is one; `helm4` is looked for beside `helm`."""
    named = os.environ.get("HELM") if name == "helm" else None
    built = CACHE / "bin" / name
    return named or shutil.which(name) or (str(built) if os.access(built, os.X_OK) else None)
