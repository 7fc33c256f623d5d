"""Generates once in every shape that will be served, so that the first request finds all warm.

Uses an Engine of its own: its blocks, prefixes and counters go with it.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from r3mes.engine.loop import Engine
from r3mes.engine.messages import Delivery, ModelInfo, SamplingParams, Stamps, Step, Submit
from r3mes.engine.pace import Pace
from r3mes.engine.runner import Runner
from r3mes.errors import StartError
from r3mes.settings import EngineSettings

SHORT = 32  # ids of the measured prompt
WORKER = "warm-up"


@dataclass(slots=True)
class Warmer:
    """Drives the shapes one by one; `progress` hears the share done and what comes next.

    `pace` learns how long steps take, and may not shorten them.
    """

    runner: Runner
    model: ModelInfo
    settings: EngineSettings
    progress: Callable[[float, str], None]
    on_step: Callable[[Step], None]
    pace: Pace
    _engine: Engine = field(init=False)
    _stamps: Stamps | None = field(init=False, default=None)
    _streams: Iterator[int] = field(init=False, default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._engine = Engine(
            self.runner,
            model=self.model,
            settings=self.settings.model_copy(update={"prefix_cache": False}),  # compute all
            clock=time.monotonic,
            deliver=self._deliver,
            on_step=self.on_step,
            pace=self.pace,
        )

    def run(self) -> float:
        """Warm everything; returns the measured time to the first token. Raises StartError."""
        buckets = batch_buckets(self.settings.max_batch)
        shapes = len(buckets) + 3
        self.progress(0, "largest prompt chunk")
        self._chunk()
        for done, rows in enumerate(buckets, start=1):
            self.progress(done / shapes, f"batch of {rows}")
            self._batch(rows)
        self.progress(1 - 2 / shapes, "prompt chunk beside a running stream")
        self._submit(1, max_tokens=3)
        self._engine.step()
        self._chunk()
        self.progress(1 - 1 / shapes, "time to first token")
        self._submit(SHORT, max_tokens=1)
        return self._finish()

    def _chunk(self) -> None:
        self._submit(self.settings.chunk_tokens, max_tokens=1)
        self._finish()

    def _batch(self, rows: int) -> None:
        """All rows in one decode step: the first must still run when the last has its prompt."""
        prefills = -(-rows // self.settings.chunk_tokens)
        for _ in range(rows):
            self._submit(1, max_tokens=prefills + 1)
        self._finish()

    def _submit(self, length: int, *, max_tokens: int) -> None:
        stream = next(self._streams)
        length = min(length, self._engine.limit - 1)
        params = SamplingParams(
            temperature=stream % 2,  # greedy rows and drawn ones
            top_p=0.9,
            seed=stream,
            max_tokens=max_tokens,
            ignore_eos=True,
        )
        prompt = [place % self.model.vocab_size for place in range(length)]
        self._engine.submit(WORKER, Submit(stream, f"{WORKER}-{stream}", prompt, params, None))

    def _finish(self) -> float:
        """Run until nothing is left; the time to the first token of the last one that ended."""
        while self._engine.busy:
            self._engine.step()
        if self._stamps is None or self._stamps.first_token is None:
            raise StartError("The model made no token in its warm-up.")
        return self._stamps.first_token - self._stamps.queued

    def _deliver(self, _: str, delivery: Delivery) -> None:
        for update in delivery.updates:
            if update.finish == "error":
                raise StartError(f"The model failed its warm-up: {update.message}")
            if update.finish:
                self._stamps = update.stamps


def batch_buckets(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    powers = itertools.takewhile(lambda rows: rows < most, (1 << bit for bit in itertools.count()))
    return [*powers, most]
