"""The kernels themselves, interpreted on the CPU."""

from collections.abc import Iterator

import pytest

from support.interpreted import interpreted


@pytest.fixture(autouse=True)
def _interpreted() -> Iterator[None]:
    with interpreted():
        yield
