"""The engine process: `python -m r3mes.engine.process`, started and told by the supervisor.

Composes the parts and drives them through the phases. One thread owns all engine state.
"""

import gc
import logging
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from r3mes.engine import lifeline
from r3mes.engine.boot import Loaded, boot
from r3mes.engine.heart import Heart
from r3mes.engine.loop import Engine
from r3mes.engine.messages import (
    Abort,
    AbortWorker,
    Compute,
    Delivery,
    Request,
    ToEngine,
)
from r3mes.engine.pace import Pace
from r3mes.engine.warm import Warmer
from r3mes.engine.wire import Wire
from r3mes.errors import EngineCrash, StartError
from r3mes.log_lines import Form, log_to_stderr
from r3mes.settings import EngineSettings, ModelSettings

logger = logging.getLogger("r3mes.engine.process")  # this module runs as __main__


class Orders(BaseModel):
    """What the supervisor says on standard input, in one line."""

    run_dir: Path
    model: ModelSettings
    engine: EngineSettings
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Form = "json"


class Process:
    """The engine's life, from nothing to serving."""

    def __init__(self, orders: Orders, wire: Wire) -> None:
        self._orders = orders
        self._wire = wire
        self._pace = Pace(orders.engine.chunk_tokens, learning=True)
        self.heart = Heart(wire.report, clock=time.monotonic)

    def live(self) -> None:
        """Load, warm, serve; returns never. Raises what makes it impossible to go on."""
        self.heart.enter("starting", "the engine's process has started")
        loaded = boot(self._orders.model, self._orders.engine, heart=self.heart)
        self._warm(loaded)
        gc.collect()
        gc.freeze()  # what was loaded stays: no collection need ever look at it again
        self._serve(loaded)

    def _warm(self, loaded: Loaded) -> None:
        began = time.monotonic()
        self.heart.enter("warming", "first generations")
        warmer = Warmer(
            loaded.runner,
            loaded.model,
            self._orders.engine,
            progress=self.heart.advance,
            on_step=self.heart.warmed,
            pace=self._pace,
        )
        self.heart.warm_ttft = warmer.run()
        self.heart.took("warm", time.monotonic() - began)

    def _serve(self, loaded: Loaded) -> None:
        engine = Engine(
            loaded.runner,
            model=loaded.model,
            settings=self._orders.engine,
            clock=time.monotonic,
            deliver=lambda worker, delivery: self._deliver(engine, worker, delivery),
            on_step=self.heart.record,
            pace=replace(self._pace, learning=False),
        )
        self.heart.stats = engine.stats
        logger.info(in_words(loaded.model.compute))
        self.heart.enter("ready", f"serving {loaded.model.name}")
        while True:
            self._wire.wait(0 if engine.busy else self.heart.due - time.monotonic())
            for sender, message in self._wire.receive():
                take(engine, sender, message)
            engine.step()
            self.heart.stats = engine.stats
            self.heart.beat_if_due()

    def _deliver(self, engine: Engine, worker: str, delivery: Delivery) -> None:
        if not self._wire.deliver(worker, delivery):
            engine.abort_worker(worker)


def in_words(compute: Compute) -> str:
    """Which path serves and why, in one line."""
    paths = {
        "step": "whole steps in C++",
        "operators": "C++ operators in the model's own modules",
        "cuda": "kernels of R3MES in the model's own modules",
        "torch": "torch",
        "": "nothing: the answers are made up",
    }
    line = f"computed by {paths[compute.path]}"
    if compute.instructions:
        line += f" for {compute.instructions}"
    if compute.weights:
        line += f"; weights in {compute.weights}, KV cache in {compute.kv}"
    return f"{line}; no faster path: {compute.why}" if compute.why else line


def take(engine: Engine, sender: str, message: ToEngine) -> None:
    match message:
        case Request(choices):
            engine.submit(sender, *choices)
        case Abort(streams, reason):
            engine.abort(sender, streams, reason=reason)
        case AbortWorker(worker):
            engine.abort_worker(worker)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the supervisor to understand
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it even in the middle of a forward pass
    orders = Orders.model_validate_json(lifeline.read_line())
    lifeline.ask_kernel()
    lifeline.watch()
    log_to_stderr(orders.log_level, orders.log_format, role="engine")
    wire = Wire(orders.run_dir)
    process = Process(orders, wire)
    try:
        process.live()
    except (StartError, EngineCrash) as error:
        logger.error(error.message)  # noqa: TRY400 - it says all there is to say
        process.heart.enter("failed", error.message)
    except Exception as error:
        logger.exception("the engine cannot go on")
        process.heart.enter("failed", f"The engine met an unexpected {type(error).__name__}.")
    finally:
        wire.close()
    return 1


if __name__ == "__main__":
    sys.exit(main())
