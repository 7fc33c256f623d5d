"""The heart beats while a model loads beside it, and a failure to load reaches the caller."""

import sys
import threading

import pytest

from r3mes.engine.boot import Do, Loaded, beside, boot
from r3mes.engine.fake import load_fake
from r3mes.engine.heart import Heart
from r3mes.engine.messages import EngineReport
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings

LOADED = Loaded(*load_fake(ModelSettings(), EngineSettings()))


class Reports:
    """Takes reports; `second` is set with the second of them."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.phases: list[str] = []
        self.second = threading.Event()

    def __call__(self, report: EngineReport) -> bool:
        self.threads.add(threading.get_ident())
        self.phases.append(report.phase)
        if len(self.phases) == 2:
            self.second.set()
        return True


def test_it_beats_during_a_load_that_says_nothing() -> None:
    reports = Reports()

    def load(do: Do) -> Loaded:
        assert reports.second.wait(30)
        return LOADED

    assert LOADED is beside(Heart(reports, clock=lambda: 0.0), load)
    assert {threading.get_ident()} == reports.threads


def test_what_the_load_tells_is_done_by_the_main_thread() -> None:
    reports = Reports()
    heart = Heart(reports, clock=lambda: 0.0)

    def load(do: Do) -> Loaded:
        do(lambda: heart.enter("loading", "weights"))
        return LOADED

    beside(heart, load)
    assert "loading" == reports.phases[0]
    assert {threading.get_ident()} == reports.threads


def test_a_failure_to_load_is_raised() -> None:
    def load(do: Do) -> Loaded:
        raise StartError("no weights here")

    with pytest.raises(StartError, match="no weights"):
        beside(Heart(Reports(), clock=lambda: 0.0), load)


def test_a_missing_library_is_a_start_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(StartError, match=r"torch is not installed.*r3mes\[engine\]"):
        boot(ModelSettings(), EngineSettings(), heart=Heart(Reports(), clock=lambda: 0.0))
