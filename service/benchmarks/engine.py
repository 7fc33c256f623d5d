"""`python -m benchmarks.engine`: the engine in process, against the machine's limits and itself.

Everything is measured in one run on one model with random weights, through the real engine loop;
the ways to compute take turns, and what is told are medians. No HTTP: that is `compare`.
"""

from benchmarks.subject import Subject, load  # isort: skip  # before torch

import argparse
import ctypes
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.engine_report import Figure, write_page
from benchmarks.random_model import random_model
from benchmarks.step_profile import profile
from r3mes.engine.native.library import Memory, Operators, operators
from r3mes.engine.native.packing import BYTES

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "engine-figures.md"
BUSY = "while True: pass"
MIB = 1 << 20
PROFILED = (1, 16, 64)  # streams
# How weights and cache are kept, and at how many streams that is measured.
WAYS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "float32": ({"weights": "float32"}, (1, 4, 16, 64)),
    "bfloat16": ({"weights": "bfloat16"}, (1, 16)),
    "int8": ({"weights": "int8"}, (1, 16, 64)),
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


def read_bandwidth(found: Operators, *, size: int = 512 * MIB) -> float:
    """Bytes a second that all cores read together, from huge pages: best of nine."""
    memory = Memory(found, size)
    raw = (ctypes.c_byte * size).from_address(memory.address)
    numbers = torch.frombuffer(raw, dtype=torch.float32)
    numbers.normal_()
    return size / min(timed(numbers.sum) for _ in range(9))


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
    structure = it.loaded.runner.forward._structure  # type: ignore[attr-defined]
    parts = [w for one in structure.layers for w in (one.qkv, one.out, one.gate_up, one.down)]
    return sum(w.n * w.k for w in [*parts, structure.model.head])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    found = operators()
    if not isinstance(found, Operators):
        sys.exit(found.reason)
    rounds = [one_round(found, number) for number in range(1 if asked.quick else asked.rounds)]
    write_page(asked.page, rounds)
    sys.stdout.write(asked.page.read_text())


def one_round(found: Operators, number: int) -> dict[str, Figure]:
    """Every figure once; float32 comes first in one round and last in the next."""
    say(f"round {number + 1}")
    figures = {
        "read bandwidth, GB/s": read_bandwidth(found) / 1e9,
        "2048^3 product, GFLOP/s": gemm_rate() / 1e9,
    }
    for name in WAYS if number % 2 == 0 else reversed(WAYS):
        figures |= of_way(name)
    figures |= of_paths()
    for name, value in figures.items():
        say(f"  {name}: {value:.3f}")
    return figures


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
    elements = weight_elements(it)
    layers = elements - it.loaded.info.vocab_size * 576
    figures = {
        "bytes of weights a step": elements * BYTES[0],
        "GFLOP a prompt token": 2 * layers / 1e9,
        "cached prompt : cold, first token": prefix_share(it),
        "longest gap beside 2,000 tokens, in steady ones": longest_gap(it),
        "rate beside a busy thread : undisturbed": disturbed_share(it),
    }
    for streams in PROFILED:
        for part, spent in profile(it.whole_step, streams).items():
            figures[f"profile at {streams}: {part}, ms"] = spent
    return figures


def of_paths() -> dict[str, Figure]:
    """The same model through its modules, with our operators in them and without."""
    from r3mes.engine.native import families

    folder = random_model("135m")
    known, families.FAMILIES = families.FAMILIES, {}
    try:
        swapped = load(folder, weights="float32", warm=False)
    finally:
        families.FAMILIES = known
    figures = {"operators in modules: step at 16, ms": decode(swapped, 16).step_ms}
    alone = load(folder, runner="portable", warm=False)
    figures["torch alone: step at 16, ms"] = decode(alone, 16, steps=10).step_ms
    return figures


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
