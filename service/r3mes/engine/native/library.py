"""The compiled operators: which build fits this processor, and their structures and functions.

Owns the mirror of the C++ structures. Knows nothing of models.
"""

import ctypes
import mmap
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from r3mes.engine.native import build

F32, BF16, INT8 = 0, 1, 2
STORE, GATE_SILU, GATE_GELU = 0, 2, 3
STRIPE, PANEL = 16, 32
WIDEST_HEAD = 512
MADV_POPULATE_WRITE = 23  # of Linux, and not in `mmap`
AGAIN = "install the package again"
CPU_INFO = Path("/proc/cpuinfo")
# What the kernel calls the instructions that a build needs.
NEEDS = {
    "avx512vnni": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma", "f16c", "bmi2"},
    "neon-dotprod": {"asimddp", "fphp"},
    "neon": {"asimd"},
}


class Weight(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("scales", c_void_p),
        ("sums", c_void_p),
        ("bias", c_void_p),
        ("n", c_int32),
        ("k", c_int32),
        ("kind", c_int32),
        ("group", c_int32),
    )


class Cache(Structure):
    _fields_ = (
        ("keys", c_void_p),
        ("values", c_void_p),
        ("stride", c_int64),
        ("heads", c_int32),
        ("key_width", c_int32),
        ("value_width", c_int32),
        ("block_size", c_int32),
        ("half", c_int32),
    )


class Attention(Structure):
    _fields_ = (
        ("cache", Cache),
        ("sinks", c_void_p),
        ("query_heads", c_int32),
        ("window", c_int32),
        ("scale", c_float),
        ("softcap", c_float),
    )


class Norm(Structure):
    _fields_ = (("weight", c_void_p), ("epsilon", c_float), ("width", c_int32))


class Layer(Structure):
    _fields_ = (
        ("qkv", Weight),
        ("out", Weight),
        ("gate_up", Weight),
        ("down", Weight),
        ("before_attention", Norm),
        ("after_attention", Norm),
        ("before_mlp", Norm),
        ("after_mlp", Norm),
        ("query", Norm),
        ("key", Norm),
        ("cosines", c_void_p),
        ("sines", c_void_p),
        ("attention", Attention),
        ("rotary", c_int32),
    )


class Model(Structure):
    _fields_ = (
        ("layers", POINTER(Layer)),
        ("head", Weight),
        ("last", Norm),
        ("count", c_int32),
        ("hidden", c_int32),
        ("gate", c_int32),
        ("residual_scale", c_float),
        ("logits_cap", c_float),
    )


class Batch(Structure):
    _fields_ = (
        ("positions", c_void_p),
        ("begins", c_void_p),
        ("tables", c_void_p),
        ("wanted", c_void_p),
        ("count", c_int32),
        ("sequences", c_int32),
        ("table_width", c_int32),
        ("wanted_count", c_int32),
        ("logits", c_void_p),
        ("best", c_void_p),
    )


class Room(Structure):
    _fields_ = (
        ("hidden", c_void_p),
        ("normed", c_void_p),
        ("qkv", c_void_p),
        ("attended", c_void_p),
        ("inner", c_void_p),
        ("scales", c_void_p),
        ("small", c_void_p),
        ("stride", c_int32),
    )


SIGNATURES: dict[str, tuple[Any, Sequence[Any]]] = {
    "r3mes_team": (c_void_p, [c_int32]),
    "r3mes_disband": (None, [c_void_p]),
    "r3mes_step": (None, [c_void_p, POINTER(Model), POINTER(Batch), POINTER(Room)]),
    "r3mes_linear": (
        None,
        [c_void_p, POINTER(Weight), POINTER(Room), c_void_p, c_int32, c_void_p, c_int32],
    ),
    "r3mes_normalize": (None, [c_void_p, POINTER(Norm), c_void_p, c_int32, c_void_p]),
    "r3mes_attend": (
        None,
        [c_void_p, POINTER(Attention), POINTER(Batch), c_void_p, c_void_p, c_void_p, c_void_p],
    ),
}


@dataclass(frozen=True, slots=True)
class Operators:
    """The functions of one build, and the instruction set it is for."""

    variant: str
    functions: Any


@dataclass(frozen=True, slots=True)
class Absent:
    """Why there are no operators and what would help, in a line for people each."""

    reason: str
    remedy: str = ""  # empty where nothing helps


@cache
def operators() -> Operators | Absent:
    """Those of the best build that this processor can run."""
    built = build.built()
    if not built:
        first = "" if build.compiler() else "install a C++ compiler, then "
        return Absent("the C++ operators are not built", f"{first}{AGAIN}")
    flags = processor_flags()
    for variant in built:
        if flags is None or NEEDS[variant] <= flags:
            return open_library(variant)
    return Absent(f"this processor lacks the instructions of {', '.join(built)}")


def open_library(variant: str) -> Operators | Absent:
    try:
        functions = ctypes.CDLL(str(build.place(variant)))
        functions.r3mes_sources.restype = ctypes.c_char_p
        made_of = functions.r3mes_sources().decode()
    except (OSError, AttributeError) as error:
        return Absent(f"the operators for {variant} cannot be loaded: {error}", AGAIN)
    if made_of != build.sources():
        return Absent("the C++ operators are those of another version", AGAIN)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    return Operators(variant, functions)


def processor_flags() -> set[str] | None:
    """As the kernel names them; None where it does not tell: there the oldest build is for all."""
    if not CPU_INFO.is_file():
        return None
    for line in CPU_INFO.read_text().splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(words.split())
    return set()


class Team:
    """The threads of the operators. One caller at a time."""

    def __init__(self, found: Operators, threads: int) -> None:
        self.functions, self.threads = found.functions, threads
        self.pointer = c_void_p(self.functions.r3mes_team(threads))
        weakref.finalize(self, self.functions.r3mes_disband, self.pointer)


class Arena:
    """Hands out stretches of large memories, so that small things share huge pages."""

    CHUNK = 32 << 20
    LINE = 64  # bytes that a processor reads together

    def __init__(self) -> None:
        self._held: list[Memory] = []
        self._next = self._left = 0

    def take(self, size: int) -> int:
        """An address, good as long as the arena."""
        size = -(-size // self.LINE) * self.LINE
        if size > self._left:
            self._held.append(Memory(max(size, self.CHUNK)))
            self._next, self._left = self._held[-1].address, self._held[-1].size
        address = self._next
        self._next, self._left = address + size, self._left - size
        return address


class Memory:
    """Zeroed memory, as long as somebody holds it; it begins where a huge page may."""

    HUGE = 2 << 20

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._held = mmap.mmap(-1, self.size + self.HUGE, flags=flags)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # kernels without them know the word and refuse it
                self._held.madvise(mmap.MADV_HUGEPAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._held))
        self.address = -(-begin // self.HUGE) * self.HUGE

    def take(self, size: int) -> None:
        """Has the kernel give the first `size` bytes now, and not when each page is first touched.

        Kernels before 5.14 and other systems give nothing ahead.
        """
        if sys.platform == "linux":
            madvise = ctypes.CDLL(None).madvise
            madvise(c_void_p(self.address), c_size_t(size), MADV_POPULATE_WRITE)
