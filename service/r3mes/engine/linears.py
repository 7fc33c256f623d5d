"""Faster matrix products for stock modules on a CPU: weights packed for oneDNN, beside the plain.

In float32 a plain product of few rows runs at a fraction of what memory and cores allow; a packed
weight gives up to twice that. The packed copy doubles the memory of the weights, so it is made
only where that is small beside what is free, and only if a measurement here finds it faster. One
row alone is bound by memory and stays with the plain weight, which never changes.

The operators are internal to torch: if one is missing or computes something else, all stays plain.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARE = 0.25  # most of the free memory that packed copies may take
ROWS = 16  # of the product that is measured
REPEATS = 5
CLOSE = 1e-4


Product = Callable[[Tensor], Tensor]


def pack_linears(model: Any, *, free: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Give every linear module of a float32 model on a CPU a packed weight; returns how many."""
    found = [module for module in model.modules() if type(module) is nn.Linear]
    found = [one for one in found if one.weight.dtype == torch.float32 and one.weight.is_cpu]
    size = sum(one.weight.nbytes for one in found)
    if not found or size > free * SHARE or not pays(max(found, key=_elements), clock):
        return 0
    for module in found:
        module.forward = packed(module)  # type: ignore[assignment, method-assign]
    return len(found)


def packed(module: nn.Linear) -> Product:
    """The module's forward over a packed copy of its weight."""
    weight, bias = module.weight, module.bias
    copy = torch.ops.mkldnn._reorder_linear_weight(weight.detach())

    def forward(rows: Tensor) -> Tensor:
        if rows.numel() == weight.shape[1]:
            return F.linear(rows, weight, bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, copy, bias, "none", [], "")
        return product

    return forward


@torch.inference_mode()
def pays(module: nn.Linear, clock: Callable[[], float]) -> bool:
    """Is the packed product of a module equal to the plain one, and faster?"""
    rows = torch.randn(ROWS, module.in_features, generator=torch.Generator().manual_seed(0))
    try:
        return is_better(packed(module), module, rows, clock)
    except (AttributeError, RuntimeError):
        return False


def is_better(fast: Product, plain: Product, rows: Tensor, clock: Callable[[], float]) -> bool:
    if not torch.allclose(fast(rows), plain(rows), rtol=CLOSE, atol=CLOSE):
        return False
    return _seconds(fast, rows, clock) < _seconds(plain, rows, clock)


def _seconds(product: Product, rows: Tensor, clock: Callable[[], float]) -> float:
    """The least of a few tries: what else runs on the machine only adds."""
    best = float("inf")
    for _ in range(REPEATS):
        began = clock()
        product(rows)
        best = min(best, clock() - began)
    return best


def _elements(module: nn.Linear) -> int:
    return module.weight.numel()
