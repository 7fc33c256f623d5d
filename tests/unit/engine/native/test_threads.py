"""How the threads of the operators wait for each other."""

import os
import time
from collections.abc import Iterator

import pytest
import torch

from r3mes.engine.native.library import Norm, Operators, Team

CALLS = 500
WAITS = 3 * CALLS  # each call wakes the threads, shares out its rows, and ends


@pytest.fixture
def one_core() -> Iterator[None]:
    """As a stranger's busy thread leaves it to both threads of a team: threads inherit it."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("threads cannot be kept on one core here")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("one_core")
def test_threads_on_one_core_soon_leave_it_to_each_other(found: Operators) -> None:
    """In processor time, so that a busy machine changes nothing."""
    team = Team(found, 2)

    assert 40e-6 > min(time_of_a_wait(found, team) for _ in range(5))


def time_of_a_wait(found: Operators, team: Team) -> float:
    """With the little work between two, in seconds."""
    rows, width = 64, 512
    x, y, weight = torch.ones(rows, width), torch.empty(rows, width), torch.ones(width)
    norm = Norm(weight=weight.data_ptr(), epsilon=1e-5, width=width)
    began = time.process_time()
    for _ in range(CALLS):
        found.functions.r3mes_normalize(team.pointer, norm, x.data_ptr(), rows, y.data_ptr())
    return (time.process_time() - began) / WAITS
