"""Memory of the operators."""

import ctypes
import mmap

import pytest

from r3mes.engine.native.library import Memory
from support.taken_memory import resident_mib, where_given_ahead


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


@where_given_ahead
def test_as_much_of_a_memory_as_is_wanted_is_there_before_anybody_touches_it() -> None:
    """What was written before stays."""
    memory, written = Memory(96 << 20), bytes(range(256)) * 10
    place = memory.address + Memory.HUGE
    ctypes.memmove(place, written, len(written))
    before = resident_mib()

    memory.take(64 << 20)

    taken = resident_mib() - before
    assert 58 < taken < 70
    assert written == ctypes.string_at(place, len(written))
    ctypes.memset(memory.address, 1, 64 << 20)
    assert 1 >= resident_mib() - before - taken
