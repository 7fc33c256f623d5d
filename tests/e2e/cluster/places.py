"""Where the cluster keeps its things. Knows nothing of what they are."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("R3MES_E2E_CACHE") or Path.home() / ".cache" / "r3mes" / "e2e")
BIN = CACHE / "bin"  # links to the programs of the pinned versions
BUILT = CACHE / "built"  # the programs, a folder for each version
DISK = CACHE / "cluster"  # what is large: images, etcd, kubelets, logs
LOGS = DISK / "logs"
PKI = DISK / "pki"
KUBECONFIG = CACHE / "kubeconfig"  # of the administrator
RUN = Path("/run/r3mes-e2e")  # process ids and sockets, whose paths have to be short
OF_TESTS = RUN / "of-tests"  # is there while the cluster is one that tests made and have to end
