"""The warm-up runs every shape that will be served, and says when the model does not work."""

import math
from typing import Any

import pytest

from r3mes.engine.fake import load_fake
from r3mes.engine.messages import Step
from r3mes.engine.pace import Pace
from r3mes.engine.runner import Batch, Flight, Landed, RowResult
from r3mes.engine.warm import Warmer, batch_buckets
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings
from support.engine import FakeEngine


class Watched:
    """The fake runner, with the shape of each batch noted: tokens fed by each row."""

    def __init__(self, *, ahead: bool = False, **settings: Any) -> None:
        self.settings = EngineSettings(**{"runner": "fake", "chunk_tokens": 64, **settings})
        self.model, self.runner = load_fake(ModelSettings(max_len=256), self.settings)
        self.num_blocks, self.vocab_size = self.runner.num_blocks, self.runner.vocab_size
        self.ahead = self.runner.ahead = ahead
        self.shapes: list[list[int]] = []
        self.progress: list[float] = []
        self.steps: list[Step] = []
        self.pace = Pace(self.settings.chunk_tokens, learning=True)

    def launch(self, batch: Batch) -> Flight:
        self.shapes.append([len(row.tokens) for row in batch.rows])
        return self.runner.launch(batch)

    def warm(self) -> float:
        return Warmer(
            self,
            self.model,
            self.settings,
            progress=lambda share, _: self.progress.append(share),
            on_step=self.steps.append,
            pace=self.pace,
        ).run()


@pytest.mark.parametrize(
    ("most", "buckets"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(most: int, buckets: list[int]) -> None:
    assert buckets == batch_buckets(most)


@pytest.mark.parametrize("ahead", [False, True])
def test_every_shape_is_run_once_at_least(ahead: bool) -> None:
    watched = Watched(max_batch=12, ahead=ahead)
    watched.warm()

    for shape in ([64], [1], [1] * 2, [1] * 4, [1] * 8, [1] * 12, [1, 64]):
        assert shape in watched.shapes


@pytest.mark.parametrize("ahead", [False, True])
def test_a_batch_larger_than_a_chunk_decodes_whole(ahead: bool) -> None:
    watched = Watched(max_batch=40, chunk_tokens=16, ahead=ahead)
    watched.warm()

    assert [1] * 40 in watched.shapes


def test_it_stays_short() -> None:
    watched = Watched(max_batch=64)
    watched.warm()

    assert 20 >= len(watched.shapes)


def test_progress_runs_from_0_to_nearly_1() -> None:
    watched = Watched()
    watched.warm()

    assert sorted(watched.progress) == watched.progress
    assert 0 == watched.progress[0]
    assert 0.8 < watched.progress[-1] < 1


def test_it_works_in_the_smallest_cache() -> None:
    watched = Watched(kv_blocks=2, block_size=1)

    assert 0 <= watched.warm()


def test_its_prefixes_are_unknown_to_the_engine_that_serves() -> None:
    watched = Watched(block_size=4, kv_blocks=64)
    watched.warm()
    serving = FakeEngine(runner=watched)
    serving.submit(1, list(range(64)))
    serving.finish()

    assert 0 == serving.engine.stats.prefix_hits


def test_a_model_that_fails_is_a_start_error() -> None:
    watched = Watched()
    watched.runner.launch = lambda batch: Landed([RowResult(error="broken")] * len(batch.rows))  # type: ignore[method-assign]

    with pytest.raises(StartError, match="warm-up"):
        watched.warm()


def test_how_long_steps_take_is_learned() -> None:
    watched = Watched(max_batch=4, fake_step_ms=1)
    watched.warm()

    assert watched.pace.token_gain(4) >= 0.001 / 4  # a step takes no less
    assert watched.pace.token_cost(2) < math.inf
