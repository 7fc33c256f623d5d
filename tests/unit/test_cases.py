"""What the cases on a cluster rest upon, as far as it needs no cluster."""

import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from e2e.clients import forwarding, wait_until
from e2e.cluster import kernel
from e2e.outcomes import MEASURED, figures, refuse_skip

# Tells of more connections than a pipe holds, and then that it got so far.
CHATTY = """
import pathlib, sys, time
print("Forwarding from 127.0.0.1:4711 -> 8000", flush=True)
for _ in range(10_000):
    print("Handling connection for 4711", flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_port_forward_goes_on_however_much_it_tells(tmp_path: Path) -> None:
    through = tmp_path / "through"
    with forwarding([sys.executable, "-c", CHATTY, str(through)]) as url:
        wait_until("all of it was told", through.exists)

    assert "http://127.0.0.1:4711" == url


def report(outcome: Literal["passed", "failed", "skipped"], **more: Any) -> pytest.TestReport:
    place = ("tests/e2e/test_a.py", 7, "test_it")
    told = {"nodeid": "tests/e2e/test_a.py::test_it", "keywords": {}, "longrepr": None, **more}
    return pytest.TestReport(location=place, outcome=outcome, **{"when": "call", **told})


def test_a_skip_that_is_refused_is_a_failure_with_its_reason() -> None:
    skip = report("skipped", longrepr=("load.py", 126, "Skipped: no nginx on PATH"))
    refuse_skip(skip)
    passed = report("passed")
    refuse_skip(passed)

    assert ("failed", True) == (skip.outcome, "no nginx on PATH" in str(skip.longrepr))
    assert "passed" == passed.outcome


def test_a_figure_is_shown_once_whether_its_case_passed_or_failed() -> None:
    measured = [(MEASURED, "6.4 s"), ("other", "1")]
    stats = {
        "passed": [report("passed", user_properties=measured)],
        "failed": [report("failed", user_properties=measured)],
        "": [report("passed", when="teardown", user_properties=measured)],
    }

    assert ["test_a.py::test_it: 6.4 s"] * 2 == list(figures(stats))


def test_the_kernel_is_as_it_was_before_the_cluster(tmp_path: Path) -> None:
    system, before = tmp_path / "sys", tmp_path / "run"
    panics, forward = system / "kernel" / "panic", system / "net" / "ipv4" / "ip_forward"
    bridged = system / "net" / "bridge" / "bridge-nf-call-iptables"
    for file in (panics, forward, bridged):
        file.parent.mkdir(parents=True, exist_ok=True)
    panics.write_text("0\n")
    forward.write_text("1\n")
    forward.chmod(0o444)

    kernel.keep(system=system, before=before)
    panics.write_text("10\n")
    bridged.write_text("1\n")  # its module was loaded meanwhile
    kernel.restore(system=system, before=before)

    assert ["0\n", "1\n", "1\n"] == [it.read_text() for it in (panics, forward, bridged)]
