"""An engine in this process, on a model with random weights, as benchmarks measure it.

To be imported before torch, whose threads read once whether to sleep or to spin when idle.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import processors
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import LoadedModel, load_model
from r3mes.engine.loop import Engine
from r3mes.engine.messages import Delivery, SamplingParams, Submit
from r3mes.engine.native.whole_step import WholeStep
from r3mes.engine.pace import Pace
from r3mes.engine.warm import Warmer
from r3mes.settings import EngineSettings, ModelSettings


@dataclass
class Subject:
    """A loaded model and an engine on it, with the times of its tokens."""

    loaded: LoadedModel
    settings: EngineSettings
    pace: Pace
    arrivals: dict[int, list[float]] = field(default_factory=dict)
    inside: float = 0.0  # seconds spent in forward passes

    def __post_init__(self) -> None:
        plain = self.loaded.runner.forward.logits

        def timed(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            logits = plain(*given, **named)
            self.inside += time.perf_counter() - began
            return logits

        self.loaded.runner.forward.logits = timed  # type: ignore[method-assign]
        self.engine = Engine(
            self.loaded.runner,
            model=self.loaded.info,
            settings=self.settings,
            clock=time.monotonic,
            deliver=self._take,
            on_step=lambda step: None,
            pace=self.pace,
        )

    @property
    def whole_step(self) -> WholeStep:
        forward = self.loaded.runner.forward
        if not isinstance(forward, WholeStep):
            raise TypeError(f"the model is computed by {type(forward).__name__}")
        return forward

    def _take(self, _: str, delivery: Delivery) -> None:
        now = time.perf_counter()
        for update in delivery.updates:
            self.arrivals.setdefault(update.stream, []).extend([now] * len(update.ids))

    def submit(self, stream: int, prompt: list[int], *, tokens: int) -> None:
        params = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
        self.arrivals[stream] = []
        self.engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))

    def finish(self) -> None:
        while self.engine.busy:
            self.engine.step()

    def clear(self, streams: int) -> None:
        self.engine.abort("w", list(range(streams)))
        self.finish()


def load(
    folder: Path,
    *,
    runner: Any = "auto",
    weights: Any = "auto",
    kv: Any = "auto",
    warm: bool = True,
) -> Subject:
    """Without drafts, which random weights flatter; unless `warm`, steps learn as they go."""
    torch.set_num_threads(processors())
    settings = EngineSettings(threads=processors(), prompt_lookup=False, runner=runner, kv_dtype=kv)
    loaded = load_model(
        ModelSettings(source=str(folder), device="cpu", dtype="float32", weights=weights),
        settings,
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )
    pace = Pace(settings.chunk_tokens, slower=float("inf"))
    if warm:
        Warmer(
            loaded.runner,
            loaded.info,
            settings,
            progress=lambda share, detail: None,
            on_step=lambda step: None,
            pace=pace,
        ).run()
    pace.slower = Pace(1).slower
    return Subject(loaded, settings, pace)
