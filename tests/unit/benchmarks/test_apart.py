"""Where torch is loaded to be measured."""

import os
import subprocess
import sys

SCRIPT = """
import os, sys
import benchmarks.__main__
from benchmarks.apart import apart

with apart() as pool:
    print(pool.submit(os.getenv, "OMP_WAIT_POLICY").result(), os.getenv("OMP_WAIT_POLICY"))
print("torch" in sys.modules)
"""


def test_idle_threads_sleep_there_and_servers_beside_ours_inherit_nothing() -> None:
    """And torch, which asks when it is loaded, is not loaded before."""
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=plain, capture_output=True, text=True, check=True
    )

    assert "passive None\nFalse\n" == told.stdout
