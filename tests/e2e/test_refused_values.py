"""Values that cannot work are refused with their reason before anything is in the cluster."""

from typing import Any

import pytest

from e2e.clients import Kubectl, Program
from e2e.image import Image
from e2e.releases import Release, small
from e2e.told import assert_told

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120, func_only=True)]

GRACE: dict[str, Any] = {"shutdown": {"gracePeriodSeconds": 60}}
OPEN: dict[str, Any] = {"ingress": {"enabled": True, "hosts": [{"host": "chat.example.org"}]}}
SCALED: dict[str, Any] = {"models": [{"name": "tiny", "autoscaling": {"maxReplicas": 3}}]}
CASES: dict[str, dict[str, Any]] = {
    "Helm does not know a value": {"replicas": 2},
    "Helm finds a value out of bounds": {"config": {"engine": {"max_batch": 5000}}},
    "An ingress without keys is refused": OPEN,
    "A grace period is refused": {"modelDefaults": GRACE},
    "Autoscaling is refused": SCALED,
}


@pytest.mark.parametrize("heading", CASES)
def test_a_value_that_cannot_work_is_refused(
    kubectl: Kubectl, either_helm: Program, image: Image, heading: str
) -> None:
    release = Release("r3mes", either_helm, kubectl)
    done = release.attempt(small(image, **CASES[heading]))

    assert 0 != done.returncode
    assert_told(heading, done.stderr)
    assert "" == kubectl("get", "all,secrets", "--output=name")
