"""Which code computes a model: a whole step in C++, operators in stock modules, kernels of ours on
a CUDA device, or torch alone.

Owns the choice and the words for it. The fastest that fits is tried first, and kept if it computes
what the stock model does. Packing lets go of a module's own weights, so that another try reads them
anew.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from r3mes.engine.cores import usable_cores
from r3mes.engine.forward import Forward, StockForward
from r3mes.engine.kv_store import KVStore
from r3mes.engine.messages import Compute
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.native.cache import NativeCache, refusal, stored
from r3mes.engine.native.families import FAMILIES, Builder, family_of
from r3mes.engine.native.formulas import asked_together
from r3mes.engine.native.library import BF16, F32, INT8, Absent, Operators, Team, operators
from r3mes.engine.native.swapped import NativeStep, Swaps
from r3mes.engine.native.whole_step import WholeStep
from r3mes.engine.pool_size import LayerShape, Pool
from r3mes.engine.probe import LENGTHS, Exactness, Probe, Survey, probe_pool, survey
from r3mes.engine.step import PagedStep
from r3mes.errors import StartError, first_line
from r3mes.settings import EngineSettings, ModelSettings

logger = logging.getLogger(__name__)

KINDS = {F32: "float32", BF16: "bfloat16", INT8: "int8"}


@dataclass(frozen=True, slots=True)
class Module:
    """A stock module with its weights, and what of it a path must know."""

    module: Any
    survey: Survey
    vocab_size: int
    eos: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    positions: int = 0  # most that will be used


@dataclass(frozen=True, slots=True)
class Path:
    """`shapes` are what the KV cache keeps; `forward` makes one with a cache of that size."""

    compute: Compute
    shapes: Mapping[int, LayerShape]
    exactness: Exactness
    forward: Callable[[Pool], Forward]


def choose(
    read: Callable[[], Module], model: ModelSettings, engine: EngineSettings
) -> tuple[Module, Path]:
    """The module and the path that computes it; raises StartError if none computes it rightly."""
    it = read()
    probe = Probe.of(it.module, vocab_size=it.vocab_size)
    if it.device.type == "cuda":
        return it, on_cuda(it, probe, model, engine)
    found = usable_operators(it, engine)
    if isinstance(found, Absent):
        return it, plain(it, probe, model, engine, why=found.reason)
    whole = family_of(it.module) is not None
    why = "" if whole else f"{type(it.module).__name__} has no whole step"
    for make in (step_path, operators_path) if whole else (operators_path,):
        outcome = tried(partial(make, found, it, model, engine, why=why), it, probe, engine)
        if isinstance(outcome, Path):
            return it, outcome
        why = outcome
        del it  # with what was packed of it, before it is read anew
        it = read()
    return it, plain(it, probe, model, engine, why=why)


def on_cuda(it: Module, probe: Probe, model: ModelSettings, engine: EngineSettings) -> Path:
    """The kernels, or what is left where they do not serve."""
    refuse_without_operators(model, engine, _only_on_a_cpu(it))
    outcome: Path | str = no_kernels(engine)
    if not outcome:
        outcome = tried(partial(cuda_path, it, engine), it, probe, engine)
    return outcome if isinstance(outcome, Path) else plain(it, probe, model, engine, why=outcome)


def no_kernels(engine: EngineSettings) -> str:
    """Why they are not even tried; empty where they are."""
    if engine.runner == "portable":
        return "engine.runner is portable"
    return "" if find_spec("triton") else "triton is not installed"


def tried(make: Callable[[], Path], it: Module, probe: Probe, engine: EngineSettings) -> Path | str:
    """The path, or why another has to serve."""
    try:
        path = make()
        verify(path, it, probe, engine)
    except Exception as error:  # noqa: BLE001 - whatever it is, another path may serve
        reason = f"a faster path cannot serve: {first_line(error)}"
        logger.warning("%s", reason)
        return reason
    return path


def plain(
    it: Module, probe: Probe, model: ModelSettings, engine: EngineSettings, *, why: str
) -> Path:
    """What is left; raises StartError where even that is wrong."""
    refuse_without_operators(model, engine, why)
    path = torch_path(it, why=why)
    verify(path, it, probe, engine)
    return path


def verify(path: Path, it: Module, probe: Probe, engine: EngineSettings) -> None:
    """Raises StartError unless the path computes what the stock model does."""
    pool = probe_pool(path.shapes.values(), engine.block_size)
    probe.compare(ModelRunner(path.forward(pool), eos=it.eos), path.exactness)


def usable_operators(it: Module, engine: EngineSettings) -> Operators | Absent:
    if engine.runner == "portable":
        return Absent("engine.runner is portable")
    if it.device.type != "cpu" or it.dtype != torch.float32:
        return Absent(_only_on_a_cpu(it))
    if reason := refusal(it.survey.shapes, engine.block_size):
        return Absent(reason)
    return operators()


def _only_on_a_cpu(it: Module) -> str:
    asked = f"{_name(it.dtype)} on {it.device.type}"
    return f"the C++ operators compute float32 on a CPU, not {asked}"


def refuse_without_operators(model: ModelSettings, engine: EngineSettings, reason: str) -> None:
    """What only they can do is refused, not left out."""
    asked = {
        f"model.weights={model.weights}": model.weights not in ("auto", "float32"),
        f"engine.kv_dtype={engine.kv_dtype}": engine.kv_dtype != "auto",
    }
    for setting, wanted in asked.items():
        if wanted:
            raise StartError(f"{setting} needs the C++ operators: {reason}")


def torch_path(it: Module, *, why: str) -> Path:
    def forward(pool: Pool) -> Forward:
        store = KVStore(it.survey.shapes, pool, device=it.device)
        return StockForward(
            it.module,
            store,
            lambda rows: PagedStep(rows, store, it.dtype),
            vocab_size=it.vocab_size,
            ahead=it.device.type == "cuda",
        )

    name = _name(it.dtype)
    compute = Compute(path="torch", instructions="", weights=name, kv=name, why=why)
    return Path(compute, it.survey.shapes, _rounding(it), forward)


def cuda_path(it: Module, engine: EngineSettings) -> Path:
    """Tried once in small: what stands in the way of recording is known before it serves."""
    from r3mes.engine.cuda.cache import DeviceCache
    from r3mes.engine.cuda.forward import CudaForward, Limits
    from r3mes.engine.cuda.graphs import CudaGraphs

    device = torch.cuda.get_device_properties(it.device)
    limits = Limits(
        tokens=max(engine.chunk_tokens + engine.max_batch, sum(LENGTHS)),  # none are drafted
        rows=max(engine.max_batch, len(LENGTHS)),
        longest=max(it.positions, *LENGTHS),
        programs=2 * device.multi_processor_count,  # one computes while another waits for memory
    )

    def forward(pool: Pool) -> CudaForward:
        return CudaForward(
            it.module,
            it.survey.heads,
            DeviceCache(it.survey.shapes, pool, device=it.device),
            limits,
            vocab_size=it.vocab_size,
            record=CudaGraphs(),
        )

    trial = forward(probe_pool(it.survey.shapes.values(), engine.block_size))
    name = _name(it.dtype)
    compute = Compute(
        path="cuda",
        instructions=f"sm_{device.major}{device.minor}",
        weights=name,
        kv=name,
        why=trial.graphs.why,
    )
    return Path(compute, it.survey.shapes, _rounding(it), forward)


def _rounding(it: Module) -> Exactness:
    return "exact" if it.dtype == torch.float32 else "16 bits"


def step_path(
    found: Operators, it: Module, model: ModelSettings, engine: EngineSettings, *, why: str
) -> Path:
    """Of a module that has a family."""
    family = FAMILIES[type(it.module).__name__]
    builder = Builder(it.module, family, wish=model.weights)
    positions = max(it.positions, *LENGTHS)  # the comparison may be longer than what is served
    structure = builder.build(it.survey.heads, positions=positions)
    team = Team(found, engine.threads or usable_cores())
    tokens = engine.chunk_tokens + engine.max_batch
    shapes = _kept(it, engine)

    def forward(pool: Pool) -> Forward:
        return WholeStep(found, structure, NativeCache(shapes, pool), team, tokens=tokens)

    return _native("step", found, builder.kinds, shapes, model, forward, why=why)


def operators_path(
    found: Operators, it: Module, model: ModelSettings, engine: EngineSettings, *, why: str
) -> Path:
    team = Team(found, engine.threads or usable_cores())
    swaps = Swaps(found, team, wish=model.weights)
    swaps.swap(it.module, asked_together(it.module, lambda: survey(it.module)))
    shapes = _kept(it, engine)

    def forward(pool: Pool) -> Forward:
        cache = NativeCache(shapes, pool)
        return StockForward(
            it.module,
            cache,
            lambda rows: NativeStep(found, team, cache, rows),
            vocab_size=it.vocab_size,
            ahead=False,
        )

    return _native("operators", found, swaps.kinds, shapes, model, forward, why=why)


def _native(
    name: str,
    found: Operators,
    kinds: set[int],
    shapes: Mapping[int, LayerShape],
    model: ModelSettings,
    forward: Callable[[Pool], Forward],
    *,
    why: str,
) -> Path:
    kv = next(iter(shapes.values())).dtype
    weights = "+".join(KINDS[kind] for kind in sorted(kinds))
    compute = Compute(path=name, instructions=found.variant, weights=weights, kv=_name(kv), why=why)
    exactness: Exactness = "exact"
    if INT8 in kinds:
        exactness = "8 bits"
    elif model.weights == "bfloat16" or kv != torch.float32:
        exactness = "16 bits"
    return Path(compute, shapes, exactness, forward)


def _kept(it: Module, engine: EngineSettings) -> Mapping[int, LayerShape]:
    half = engine.kv_dtype == "float16"
    return stored(it.survey.shapes, torch.float16) if half else it.survey.shapes


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
