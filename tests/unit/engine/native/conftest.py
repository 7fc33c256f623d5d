"""The operators of each build that this processor can run, and threads for them."""

import pytest
import torch

from r3mes.engine.native import build, library
from r3mes.engine.native.library import Operators, Team


@pytest.fixture(scope="module", params=build.variants())
def found(request: pytest.FixtureRequest) -> Operators:
    flags = library.processor_flags()
    missing = set() if flags is None else library.NEEDS[request.param] - flags
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    if not build.place(request.param).is_file():
        pytest.skip(f"the operators for {request.param} are not built")
    opened = library.open_library(request.param)
    assert isinstance(opened, Operators)
    return opened


@pytest.fixture(scope="module")
def team(found: Operators) -> Team:
    torch.set_num_threads(1)
    return Team(found, 2)
