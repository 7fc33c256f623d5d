"""The kernels compile to machine code of GPUs: that needs triton and no GPU."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]
SHARED = 99 << 10  # bytes that one program may have on the smallest of these devices


@pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")
@pytest.mark.timeout(300)
def test_kernels_compile_once_for_all_batches_and_fit_into_shared_memory(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "service")])
    done = subprocess.run(
        [sys.executable, "-m", "support.compiling"],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "TRITON_INTERPRET": "0",
            "TRITON_CACHE_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert 10 == len(reports)
    assert [] == [one for one in reports if one["shared"] > SHARED]
    assert {0} == {one["compiled later"] for one in reports}
    attending = [it for it in reports if "attend" in it["kernel"] and "bfloat16" in it["kernel"]]
    assert 3 == len(attending)
    assert all(it["products"] for it in attending)  # on the tensor cores
