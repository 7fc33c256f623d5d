"""`python -m support.compiling` launches the kernels for GPUs that are not there: they are compiled
and assembled as ever, and not run. One JSON line for each kernel.

A process of its own, since kernels of the tests' are interpreted.
"""

import json
import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from r3mes.engine.cuda import kernels
from support.paged import Scene

PLAIN = {"query_heads": 32, "heads": 8, "key_width": 128, "value_width": 128}
FULL = {
    "query_heads": 8,
    "heads": 4,
    "key_width": 64,
    "value_width": 64,
    "softcap": 50.0,
    "window": 128,
    "sinks": True,
}
SUBJECTS: list[tuple[dict[str, Any], torch.dtype, int]] = [  # Ampere is 80, Hopper 90
    (FULL, torch.bfloat16, 90),
    (PLAIN, torch.float32, 80),
]
Batches = list[tuple[int, list[tuple[int, int]]]]  # programs at once, and rows
FIRST: Batches = [(1, [(300, 1)]), (1, [(3, 100)]), (64, [(300, 1)])]
LATER: Batches = [
    (1, [(17, 1)]),
    (1, [(0, 1), (300, 1)]),
    (1, [(90, 1)] * 5),
    (1, [(0, 2)]),
    (1, [(5, 1), (31, 7), (2, 70)]),
    (64, [(310, 1)]),
]


class NoDevice:
    """A driver of a GPU of that kind: whatever is launched on it ends with its compilation."""

    def __init__(self, target: int) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.target, 32)

    def get_current_device(self) -> int:
        return self.target

    def get_current_stream(self, device: int) -> int:
        return 0


def launch(asked: dict[str, Any], dtype: torch.dtype, batches: Batches) -> None:
    for programs, rows in batches:
        scene = Scene(rows, **asked, dtype=dtype, programs=programs)
        scene.computed(scene.asked())


def compiled(target: int) -> list[tuple[str, Any]]:
    names = ("store", "attend", "combine")
    return [
        (name, made)
        for name in names
        for made in getattr(kernels, name).device_caches[target][0].values()
    ]


def main() -> None:
    JITFunction.__getitem__ = lambda self, grid: (
        lambda *given, **named: self.run(*given, grid=grid, warmup=True, **named)
    )
    told: set[int] = set()
    for asked, dtype, target in SUBJECTS:
        driver.set_active(NoDevice(target))
        launch(asked, dtype, FIRST)
        first = compiled(target)
        launch(asked, dtype, LATER)
        late = len(compiled(target)) - len(first)
        for name, made in first:
            if id(made) not in told:
                told.add(id(made))
                report = {
                    "kernel": f"{name}, {asked['key_width']} wide, {dtype}, sm_{target}",
                    "shared": made.metadata.shared,
                    "products": made.asm["ptx"].count("mma"),
                    "compiled later": late,
                }
                sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
