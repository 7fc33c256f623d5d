"""The kernels themselves, interpreted on the CPU."""

import importlib
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from support.interpreted import interpreted

if find_spec("triton"):
    with interpreted():
        importlib.import_module("r3mes.engine.cuda.kernels")


@pytest.fixture(autouse=True)
def _interpreted() -> Iterator[None]:
    with interpreted():
        yield
