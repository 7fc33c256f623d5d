"""The chart's tests render with Helm; a few of them with each version that people have."""

import pytest

from helm import find_helm
from support.chart import Chart, chart_of

VERSIONS = [pytest.param(name, marks=pytest.mark.chart) for name in ("helm", "helm4")]


@pytest.fixture(scope="session", params=[pytest.param("", marks=pytest.mark.chart)])
def chart() -> Chart:
    """With the first Helm that is found."""
    return chart_of("helm" if find_helm("helm") else "helm4")


@pytest.fixture(scope="session", params=VERSIONS)
def each_chart(request: pytest.FixtureRequest) -> Chart:
    return chart_of(request.param)
