"""Memory of the operators."""

import mmap

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
