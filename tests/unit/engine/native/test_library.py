"""Memory of the operators."""

import ctypes
import mmap
import os
import sys
import threading
from pathlib import Path

import pytest

from r3mes.engine.native.library import Memory


@pytest.mark.parametrize("advice", [None, 9999], ids=["this system", "one without huge pages"])
def test_memory_is_zeroed_and_begins_where_a_huge_page_may(
    monkeypatch: pytest.MonkeyPatch, advice: int | None
) -> None:
    """A kernel may refuse what its headers promise."""
    if advice is not None:
        monkeypatch.setattr(mmap, "MADV_HUGEPAGE", advice, raising=False)
    memory = Memory(100)

    assert 0 == memory.address % Memory.HUGE
    assert 100 == memory.size


@pytest.mark.skipif(sys.platform != "linux", reason="no kernel that gives memory ahead")
def test_memory_is_taken_from_the_kernel_before_anybody_touches_it() -> None:
    size, before = 64 << 20, resident()
    memory = Memory(size)

    claim(memory)

    assert size * 0.9 < resident() - before
    ctypes.memset(memory.address, 1, size)
    assert size * 1.1 > resident() - before


def test_what_was_written_before_it_is_claimed_stays() -> None:
    memory = Memory(3 * Memory.HUGE + 5)
    written, place = bytes(range(256)) * 10, memory.address + Memory.HUGE
    ctypes.memmove(place, written, len(written))

    claim(memory)

    assert written == ctypes.string_at(place, len(written))


@pytest.mark.skipif(sys.platform != "linux", reason="no kernel that gives memory ahead")
def test_a_thread_that_cannot_step_back_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    before = resident()
    memory = Memory(64 << 20)

    claim(memory)

    assert memory.size * 0.1 > resident() - before


def claim(memory: Memory) -> None:
    """By a thread of its own, as the cache has it done: it is the last in line from then on."""
    thread = threading.Thread(target=memory.claim)
    thread.start()
    thread.join()


def resident() -> int:
    """Bytes of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE
