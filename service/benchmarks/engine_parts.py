"""The parts of a round of `engine`: each takes some of its figures through the real engine loop.

Knows nothing of rounds, pages or terminals.
"""

import ctypes
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.engine_report import Figure
from benchmarks.random_model import random_model
from benchmarks.step_profile import profile
from benchmarks.subject import Subject, load
from r3mes.engine.native.library import F32, Absent, Memory, operators
from r3mes.engine.native.packing import BYTES

BUSY = "while True: pass"
MIB = 1 << 20
PROFILED = (1, 16, 64)  # streams
KINDS = ("float32", "bfloat16", "int8")
TURNS = 5  # of what is compared side by side
# How weights and cache are kept, and at how many streams that is measured.
WAYS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "float32": ({"weights": "float32"}, (4, 16, 64)),
    "bfloat16": ({"weights": "bfloat16"}, (16, 64)),
    "int8": ({"weights": "int8"}, (16, 64)),
    "float32, KV float16": ({"weights": "float32", "kv": "float16"}, (16, 64)),
}


def ids(count: int, dice: random.Random) -> list[int]:
    return [dice.randrange(3, 49000) for _ in range(count)]


@dataclass(frozen=True)
class Decode:
    step_ms: float
    outside: float  # share of a step that is no forward pass
    unused: float  # share of the allocated positions that hold nothing


def decode(it: Subject, streams: int, *, steps: int = 30) -> Decode:
    dice = random.Random(streams)
    for stream in range(streams):
        it.submit(stream, ids(dice.randrange(96, 224), dice), tokens=steps + 1000)
    while any(not times for times in it.arrivals.values()):
        it.engine.step()
    it.engine.step()
    it.inside, spent = 0.0, []
    for _ in range(steps):
        began = time.perf_counter()
        it.engine.step()
        spent.append(time.perf_counter() - began)
    stats, running = it.engine.stats, it.engine._scheduler.running
    held = sum(sequence.computed for sequence in running)
    result = Decode(
        step_ms=1000 * median(spent),
        outside=1 - it.inside / sum(spent),
        unused=1 - held / (stats.blocks_used * stats.block_size),
    )
    it.clear(streams)
    return result


def first_token_s(it: Subject, prompt: list[int]) -> float:
    began = time.perf_counter()
    it.submit(0, prompt, tokens=1)
    it.finish()
    return it.arrivals[0][0] - began


def prefill_rate(it: Subject, tokens: int = 512) -> float:
    dice = random.Random(tokens)
    return max(tokens / first_token_s(it, ids(tokens, dice)) for _ in range(3))


def prefix_share(it: Subject) -> float:
    """Time to the first token of 1,000 tokens that are cached, as a part of the cold one."""
    prompts = [ids(1000, random.Random(seed)) for seed in (7, 8, 9)]
    cold = median(first_token_s(it, prompt) for prompt in prompts)
    return median(first_token_s(it, prompt) for prompt in prompts) / cold


def longest_gap(it: Subject) -> float:
    """Of a running stream while 2,000 tokens are admitted, in steady gaps."""
    dice = random.Random(9)
    it.submit(0, ids(100, dice), tokens=400)
    for _ in range(40):
        it.engine.step()
    steady = median(np.diff(it.arrivals[0][10:]).tolist())
    before = len(it.arrivals[0])
    it.submit(1, ids(2000, dice), tokens=1)
    while not it.arrivals[1]:
        it.engine.step()
    longest = max(np.diff(it.arrivals[0][before - 1 :]).tolist())
    it.clear(2)
    return float(longest / steady)


@contextmanager
def third_thread() -> Iterator[None]:
    """Something else that never rests."""
    other = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        time.sleep(0.5)
        yield
    finally:
        other.kill()
        other.wait()


def disturbed_share(it: Subject) -> float:
    alone = decode(it, 1).step_ms
    with third_thread():
        return alone / decode(it, 1, steps=60).step_ms


class Bandwidth:
    """Of what all cores read together, from huge pages, in bytes a second."""

    def __init__(self, *, size: int = 512 * MIB) -> None:
        self._size, self._memory = size, Memory(size)
        raw = (ctypes.c_byte * size).from_address(self._memory.address)
        self._numbers = torch.frombuffer(raw, dtype=torch.float32).normal_()

    def measure(self) -> float:
        """The best of nine."""
        return self._size / min(timed(self._numbers.sum) for _ in range(9))


def gemm_rate(size: int = 2048) -> float:
    """Floating point operations a second of a square product: best of nine."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(9))


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def weight_elements(it: Subject) -> int:
    """Of the matrices that a token of decoding passes through."""
    structure = it.whole_step._structure
    parts = [w for one in structure.layers for w in (one.qkv, one.out, one.gate_up, one.down)]
    return sum(w.n * w.k for w in [*parts, structure.model.head])


def of_one_stream() -> dict[str, Figure]:
    """The machine's limits and all kinds of weights in turn: how fast memory is changes from one
    second to the next, and one stream's steps with it."""
    found = operators()
    if isinstance(found, Absent):
        sys.exit(found.reason)
    bandwidth, folder = Bandwidth(), random_model("135m")
    kinds = {name: load(folder, weights=name, warm=False) for name in KINDS}
    elements = weight_elements(kinds["float32"])
    turns = [one_stream(bandwidth, kinds, elements) for _ in range(TURNS)]
    vocabulary = kinds["float32"].whole_step._structure.model.head
    return {
        **{name: median(turn[name] for turn in turns) for name in turns[0]},
        "2048^3 product, GFLOP/s": gemm_rate() / 1e9,
        "GFLOP a prompt token": 2 * (elements - vocabulary.n * vocabulary.k) / 1e9,
    }


def one_stream(
    bandwidth: Bandwidth, kinds: Mapping[str, Subject], elements: int
) -> dict[str, Figure]:
    read = bandwidth.measure()
    steps = {name: decode(it, 1).step_ms for name, it in kinds.items()}
    bound = 1000 * elements * BYTES[F32] / read
    return {
        "read bandwidth, GB/s": read / 1e9,
        **{f"{name}: step at 1, ms": spent for name, spent in steps.items()},
        "bandwidth's time : float32's, one stream": bound / steps["float32"],
        "float32's time : bfloat16's, one stream": steps["float32"] / steps["bfloat16"],
        "float32's time : int8's, one stream": steps["float32"] / steps["int8"],
    }


def of_way(name: str) -> dict[str, Figure]:
    settings, levels = WAYS[name]
    it = load(random_model("135m"), **settings)
    figures: dict[str, Figure] = {}
    for streams in levels:
        seen = decode(it, streams)
        figures[f"{name}: step at {streams}, ms"] = seen.step_ms
        if name == "float32":
            figures[f"outside the forward pass at {streams}"] = seen.outside
            figures[f"unused KV positions at {streams}"] = seen.unused
    figures[f"{name}: prefill, tokens/s"] = prefill_rate(it)
    return figures | of_float32(it) if name == "float32" else figures


def of_float32(it: Subject) -> dict[str, Figure]:
    figures = {
        "cached prompt : cold, first token": prefix_share(it),
        "longest gap beside 2,000 tokens, in steady ones": longest_gap(it),
        "rate beside a busy thread : undisturbed": disturbed_share(it),
    }
    for streams in PROFILED:
        for part, spent in profile(it.whole_step, streams).items():
            figures[f"profile at {streams}: {part}, ms"] = spent
    return figures


def of_paths() -> dict[str, Figure]:
    """The same model as a whole step and through its modules, with our operators in them, in turn;
    and without them."""
    from r3mes.engine.native import families

    folder = random_model("135m")
    whole = load(folder, weights="float32", warm=False)
    known, families.FAMILIES = families.FAMILIES, {}
    try:
        swapped = load(folder, weights="float32", warm=False)
    finally:
        families.FAMILIES = known
    for it, path in ((whole, "step"), (swapped, "operators")):
        if it.loaded.info.compute.path != path:
            raise TypeError(f"{path} is served as {it.loaded.info.compute.path}")
    turns = [(decode(whole, 16).step_ms, decode(swapped, 16).step_ms) for _ in range(TURNS)]
    alone = load(folder, runner="portable", warm=False)
    return {
        "whole step's time : modules', 16 streams": median(one / two for one, two in turns),
        "operators in modules: step at 16, ms": median(two for _, two in turns),
        "torch alone: step at 16, ms": decode(alone, 16, steps=10).step_ms,
    }
