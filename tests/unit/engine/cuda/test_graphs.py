"""Which batches are recorded, in what order, and what is left when recording fails."""

from dataclasses import dataclass, field

import pytest
import torch

from r3mes.engine.cuda.graphs import DecodeGraphs, Run, unrecorded
from r3mes.engine.forward import Logits


@dataclass
class Diary:
    """Runs that note their size, and a way to record that notes it too."""

    lines: list[str] = field(default_factory=list)
    refuse: int = 0

    def run(self, size: int) -> Run:
        def one() -> Logits:
            self.lines.append(f"run {size}")
            return Logits.of(torch.full((size, 2), float(size)))

        return one

    def record(self, run: Run) -> Run:
        result = run()
        self.lines[-1] = self.lines[-1].replace("run", "record")
        if len(result.lines) == self.refuse:
            try:
                raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
            finally:
                raise RuntimeError("the recording was not ended well")

        def replay() -> Logits:
            self.lines.append(f"replay {len(result.lines)}")
            return result

        return replay


def test_every_size_runs_once_before_any_is_recorded_and_the_largest_first() -> None:
    diary = Diary()

    graphs = DecodeGraphs([1, 2, 4], diary.run, diary.record)

    assert ["run 4", "run 2", "run 1", "record 4", "record 2", "record 1"] == diary.lines
    assert "" == graphs.why


def test_a_batch_replays_the_record_of_its_size() -> None:
    diary = Diary()
    graphs = DecodeGraphs([1, 2, 4], diary.run, diary.record)

    lines, _ = graphs.replay(graphs.bucket(3))

    assert 4 == len(lines)
    assert "replay 4" == diary.lines[-1]


def test_unrecorded_batches_run_each_time() -> None:
    diary = Diary()
    graphs = DecodeGraphs([1, 2], diary.run, unrecorded)

    graphs.replay(2)
    graphs.replay(2)

    assert ["run 2", "run 1", "run 2", "run 2"] == diary.lines


@pytest.mark.parametrize("refuse", [4, 1])
def test_what_cannot_be_recorded_runs_each_time_and_says_why(
    refuse: int, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary(refuse=refuse)
    graphs = DecodeGraphs([1, 2, 4], diary.run, diary.record)

    graphs.replay(4)

    expected = "its steps cannot be CUDA graphs: operation not permitted when stream is capturing"
    assert expected == graphs.why
    assert expected in caplog.text
    assert "run 4" == diary.lines[-1]
