"""The heart beats while a model loads beside it, and a failure to load reaches the caller."""

import json
import sys
import threading
from pathlib import Path

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


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "has only pickled weights"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "quantised checkpoints"),
    ],
    ids=["wrong files", "wrong config"],
)
def test_a_folder_that_cannot_be_served_is_told_before_torch_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: object, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    if config is None:
        (tmp_path / "pytorch_model.bin").touch()
    else:
        header = json.dumps(
            {"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
        ).encode()
        weights = len(header).to_bytes(8, "little") + header + bytes(4)
        (tmp_path / "model.safetensors").write_bytes(weights)
        (tmp_path / "tokenizer.json").touch()
        (tmp_path / "config.json").write_text(json.dumps(config))
    heart = Heart(Reports(), clock=lambda: 0.0)

    with pytest.raises(StartError, match=reason):
        boot(ModelSettings(source=str(tmp_path)), EngineSettings(), heart=heart)
