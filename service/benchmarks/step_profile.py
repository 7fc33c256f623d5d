"""Where the time of one step goes: its products and its attention, each asked for by itself."""

import ctypes
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from r3mes.engine.native.library import STORE
from r3mes.engine.native.whole_step import FlatBatch, WholeStep
from r3mes.engine.runner import Row

PRODUCTS = {
    "qkv": "queries, keys, values",
    "out": "output",
    "gate_up": "gate and up",
    "down": "down",
}
CONTEXTS = (96, 224)  # tokens
TRIES = 9


def rows_of(streams: int, *, block_size: int) -> list[Row]:
    """One token each, after contexts of many lengths that lie apart."""
    dice = random.Random(streams)
    starts = sorted(dice.randrange(*CONTEXTS) for _ in range(streams))
    rows, taken = [], 0
    for start in starts:
        count = start // block_size + 1
        rows.append(Row([5], start, range(taken, taken + count), None))
        taken += count
    return rows


def profile(forward: WholeStep, streams: int) -> dict[str, float]:
    """Milliseconds by part; what is left of the whole step is norms, positions and waiting."""
    structure, functions = forward._structure, forward._found.functions
    team, room = forward._team.pointer, ctypes.byref(forward._room)
    layers = list(structure.layers)
    rows = rows_of(streams, block_size=forward.block_size)

    def product(weights: list[Any]) -> Callable[[], None]:
        x, y = torch.randn(streams, weights[0].k), torch.empty(streams, weights[0].n)

        def work() -> None:
            for weight in weights:
                it = ctypes.byref(weight)
                functions.r3mes_linear(team, it, room, x.data_ptr(), streams, y.data_ptr(), STORE)

        return work

    parts = {name: product([getattr(it, part) for it in layers]) for part, name in PRODUCTS.items()}
    parts["vocabulary"] = product([structure.model.head])
    parts["attention"] = attention(forward, rows)
    times = {name: milliseconds(work) for name, work in parts.items()}
    whole = milliseconds(lambda: forward.logits(rows, range(streams), last=None))
    return {**times, "all else": max(0.0, whole - sum(times.values())), "whole step": whole}


def attention(forward: WholeStep, rows: list[Row]) -> Callable[[], None]:
    flat, count = FlatBatch(rows), len(rows)
    functions, team = forward._found.functions, forward._team.pointer
    first = forward._structure.layers[0].attention
    widths = first.cache.key_width, first.cache.value_width
    query = torch.randn(count, first.query_heads, widths[0])
    key = torch.randn(count, first.cache.heads, widths[0])
    value = torch.randn(count, first.cache.heads, widths[1])
    out = torch.empty(count, first.query_heads, widths[1])

    def work() -> None:
        for layer in forward._structure.layers:
            functions.r3mes_attend(
                team,
                ctypes.byref(layer.attention),
                ctypes.byref(flat.structure),
                query.data_ptr(),
                key.data_ptr(),
                value.data_ptr(),
                out.data_ptr(),
            )

    return work


def milliseconds(work: Callable[[], Any]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return 1000 * median(once() for _ in range(TRIES))
