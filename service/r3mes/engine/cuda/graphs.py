"""Whole decode batches recorded once and replayed: one launch where there were hundreds.

Owns the sizes that are recorded and their order. What is recorded is a function without arguments,
which reads and writes fixed places: the sheet, the cache, its own result.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from r3mes.engine.cuda.geometry import bucket
from r3mes.engine.forward import Logits
from r3mes.errors import first_line

logger = logging.getLogger(__name__)

Run = Callable[[], Logits]
Record = Callable[[Run], Run]


def unrecorded(run: Run) -> Run:
    """The plain form: every replay runs it anew."""
    return run


class CudaGraphs:
    """Records on a CUDA device. All graphs share one pool of memory, since only one runs at a
    time: the result of one holds until the next replay of any."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, run: Run) -> Run:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = run()
        self._pool = self._pool or graph.pool()

        def replay() -> Logits:
            graph.replay()
            return result

        return replay


class DecodeGraphs:
    """Of batches of rows with one token each, filled up to the next size.

    Each size runs once before it is recorded: kernels are compiled and memory is taken there, which
    a graph cannot hold. `why` tells why nothing could be recorded, and is empty where all was.
    """

    def __init__(self, sizes: Sequence[int], run: Callable[[int], Run], record: Record) -> None:
        self.sizes = sizes
        self.why = ""
        runs = {size: run(size) for size in sizes}
        for one in reversed(runs.values()):  # the largest first: the others fit into its memory
            one()
        self._runs = self._recorded(runs, record)

    def _recorded(self, runs: dict[int, Run], record: Record) -> dict[int, Run]:
        """All of them, or as they were: half of them would be two speeds and two memories."""
        try:
            return {size: record(runs[size]) for size in reversed(self.sizes)}
        except Exception as error:  # noqa: BLE001 - whatever the model does, it is served unrecorded
            cause = error.__context__ or error  # the end of a recording fails too, and hides why
            self.why = f"its steps cannot be CUDA graphs: {first_line(cause)}"
            logger.warning("%s", self.why)
            return runs

    def bucket(self, rows: int) -> int:
        return bucket(rows, self.sizes)

    def replay(self, size: int) -> Logits:
        """Valid until the next call."""
        return self._runs[size]()
