"""Which code is chosen for a model, what is said about it, and that each choice answers rightly."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from r3mes.engine import paths
from r3mes.engine.architecture import build_config, model_class
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import LoadedModel, load_model, read_module
from r3mes.engine.messages import Compute, SamplingParams
from r3mes.engine.native import build, library
from r3mes.engine.native.families import FAMILIES
from r3mes.engine.native.library import Operators, operators
from r3mes.engine.native.swapped import Swaps
from r3mes.engine.probe import Probe
from r3mes.engine.runner import Batch, Row, Sample
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings
from support.models import Oracle, make_checkpoint

PROMPT = [9, 8, 7, 60, 50, 40, 30, 20, 11, 12, 13]
COUNT = 12  # tokens of an answer
BLOCKS = [3, 1]
GREEDY = SamplingParams(temperature=0.0, max_tokens=COUNT, ignore_eos=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    return {kind: make_checkpoint(folder / kind, kind) for kind in ("llama", "phi3", "qwen3_moe")}


@pytest.fixture(scope="module")
def llama(folders: dict[str, Path]) -> Path:
    return folders["llama"]


@pytest.fixture
def built() -> Operators:
    found = operators()
    if not isinstance(found, Operators):
        pytest.skip(found.reason)
    return found


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Operators are looked for in an empty folder."""
    monkeypatch.setattr(build, "built", list)
    monkeypatch.setattr(build, "place", lambda variant: tmp_path / variant)
    operators.cache_clear()
    yield
    operators.cache_clear()


def load(folder: Path, *, max_len: int | None = None, weights: str = "auto", **engine: Any) -> Any:
    model = {"source": str(folder), "device": "cpu", "max_len": max_len, "weights": weights}
    return load_model(
        ModelSettings(**model),
        EngineSettings(**{"kv_blocks": 8, "block_size": 16, **engine}),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


def answer(loaded: LoadedModel) -> list[int]:
    """Greedy tokens, each fed alone after the prompt."""
    ids = list(PROMPT)
    fed = 0
    while len(ids) < len(PROMPT) + COUNT:
        sample = Sample(GREEDY, len(ids), PROMPT, ids[len(PROMPT) :])
        (result,) = loaded.runner.launch(Batch((Row(ids[fed:], fed, BLOCKS, sample),))).land()
        fed = len(ids)
        ids += result.tokens
    return ids[len(PROMPT) :]


def refuse_difference(folder: Path, loaded: LoadedModel) -> None:
    expected = Oracle(folder).answer(PROMPT, COUNT)
    assert COUNT // 2 <= expected.sure
    assert expected.ids[: expected.sure] == answer(loaded)[: expected.sure]


def test_a_model_of_a_family_gets_a_whole_step(built: Operators, llama: Path) -> None:
    loaded = load(llama)

    expected = Compute(
        path="step", instructions=built.variant, weights="float32", kv="float32", why=""
    )
    assert expected == loaded.info.compute
    refuse_difference(llama, loaded)


def test_any_other_model_gets_the_operators_in_its_own_modules(
    built: Operators, folders: dict[str, Path]
) -> None:
    loaded = load(folders["phi3"])

    expected = Compute(
        path="operators",
        instructions=built.variant,
        weights="float32",
        kv="float32",
        why="Phi3ForCausalLM has no whole step",
    )
    assert expected == loaded.info.compute
    refuse_difference(folders["phi3"], loaded)


def test_the_portable_runner_is_torch_alone(llama: Path) -> None:
    loaded = load(llama, runner="portable")

    expected = Compute(
        path="torch", weights="float32", kv="float32", why="engine.runner is portable"
    )
    assert expected == loaded.info.compute
    refuse_difference(llama, loaded)


def test_blocks_that_do_not_fit_into_vectors_leave_torch_alone(llama: Path) -> None:
    loaded = load(llama, block_size=8, kv_blocks=64)

    assert "torch" == loaded.info.compute.path
    assert "block_size is 8, no multiple of 16" == loaded.info.compute.why


def test_operators_that_were_not_built_leave_torch_alone(not_built: None, llama: Path) -> None:
    loaded = load(llama)

    assert "torch" == loaded.info.compute.path
    assert "the C++ operators are not built" in loaded.info.compute.why
    refuse_difference(llama, loaded)


def test_a_processor_without_the_instructions_leaves_torch_alone(
    built: Operators, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nflags\t\t: fpu sse2\n")
    monkeypatch.setattr(library, "CPU_INFO", info)
    operators.cache_clear()
    try:
        loaded = load(llama)
    finally:
        operators.cache_clear()

    assert "torch" == loaded.info.compute.path
    assert "this processor lacks the instructions of" in loaded.info.compute.why
    assert built.variant in loaded.info.compute.why


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ("model.weights=int8", {"weights": "int8"}),
        ("model.weights=bfloat16", {"weights": "bfloat16"}),
        ("engine.kv_dtype=float16", {"kv_dtype": "float16"}),
    ],
)
@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("engine.runner is portable", {"runner": "portable"}),
        ("block_size is 8", {"block_size": 8, "kv_blocks": 64}),
    ],
)
def test_what_only_operators_can_do_is_refused_without_them(
    llama: Path, expected: str, settings: dict[str, Any], why: str, cause: dict[str, Any]
) -> None:
    with pytest.raises(StartError, match=f"{expected} needs the C\\+\\+ operators: {why}"):
        load(llama, **settings, **cause)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("path", "kind"), [("step", "llama"), ("operators", "phi3")])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("kv_dtype", ["auto", "float16"])
def test_chosen_types_are_those_that_are_used(
    folders: dict[str, Path], path: str, kind: str, weights: str, kv_dtype: str
) -> None:
    loaded = load(folders[kind], weights=weights, kv_dtype=kv_dtype)

    kept = "float16" if kv_dtype == "float16" else "float32"
    compute = loaded.info.compute
    assert (path, weights, kept) == (compute.path, compute.weights, compute.kv)
    assert COUNT == len(answer(loaded))


@pytest.mark.usefixtures("built")
def test_keys_and_values_in_sixteen_bits_hardly_change_the_answer(llama: Path) -> None:
    loaded = load(llama, kv_dtype="float16")

    assert "step" == loaded.info.compute.path
    assert Oracle(llama).answer(PROMPT, COUNT).ids[:4] == answer(loaded)[:4]


@pytest.mark.usefixtures("built")
def test_models_that_are_computed_in_other_numbers_have_other_fingerprints(llama: Path) -> None:
    loaded = [load(llama), load(llama, weights="int8"), load(llama, kv_dtype="float16")]

    assert 3 == len({one.info.fingerprint for one in loaded})


@pytest.mark.usefixtures("built")
def test_a_whole_step_that_computes_something_else_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, llama: Path
) -> None:
    wrong = replace(FAMILIES["LlamaForCausalLM"], norm_offset=0.5)
    monkeypatch.setitem(FAMILIES, "LlamaForCausalLM", wrong)  # type: ignore[arg-type]

    loaded = load(llama)

    assert "operators" == loaded.info.compute.path
    assert "positions differ" in loaded.info.compute.why
    refuse_difference(llama, loaded)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("max_len", [16, 40, 256])
def test_a_short_limit_of_length_still_gets_a_whole_step(llama: Path, max_len: int) -> None:
    """The comparison with the stock model is of sequences of 45 tokens, if the model can."""
    loaded = load(llama, max_len=max_len)

    assert ("step", "") == (loaded.info.compute.path, loaded.info.compute.why)


@pytest.mark.usefixtures("built")
def test_a_whole_step_serves_the_last_position_of_the_model(llama: Path) -> None:
    loaded = load(llama, kv_blocks=16)
    ids = [7, *PROMPT] * 21 + PROMPT[:4]
    sample = Sample(GREEDY, 256, ids, [])

    (result,) = loaded.runner.launch(Batch((Row(ids, 0, range(16), sample),))).land()

    with torch.inference_mode():
        expected = Oracle(llama).model(torch.tensor([ids])).logits[0, -1]
    assert 256 == len(ids) == loaded.info.max_len
    assert (int(expected.argmax()),) == result.tokens


@pytest.mark.usefixtures("built")
def test_a_model_with_experts_is_answered_through_the_operators(folders: dict[str, Path]) -> None:
    loaded = load(folders["qwen3_moe"])

    assert "operators" == loaded.info.compute.path
    refuse_difference(folders["qwen3_moe"], loaded)


def test_operators_that_cannot_be_put_in_leave_torch_to_serve(
    folders: dict[str, Path], built: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Swaps, *given: object) -> None:
        raise AttributeError("a module of another make")

    monkeypatch.setattr(Swaps, "swap", broken)
    loaded = load(folders["phi3"])

    assert "torch" == loaded.info.compute.path
    assert "a module of another make" in loaded.info.compute.why


def test_kernels_are_not_tried_where_torch_alone_is_wished() -> None:
    assert "engine.runner is portable" == paths.no_kernels(EngineSettings(runner="portable"))


def test_kernels_are_not_tried_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "find_spec", lambda name: None)
    assert "triton is not installed" == paths.no_kernels(EngineSettings())

    monkeypatch.setattr(paths, "find_spec", lambda name: object())
    assert "" == paths.no_kernels(EngineSettings())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_kernels_that_cannot_be_compiled_leave_another_path_to_serve(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = read_checkpoint(llama)
    config = build_config(checkpoint.config)
    settings = ModelSettings(source=str(llama), device="cpu")
    native = model_class(config)
    it = read_module(settings, llama, config, checkpoint.weights, native_class=native)
    probe = Probe.of(it.module, vocab_size=it.vocab_size)
    engine = EngineSettings()

    outcome = paths.tried(partial(paths.cuda_path, it, engine), it, probe, engine)

    assert isinstance(outcome, str)
    assert outcome.startswith("a faster path cannot serve: ")
    assert outcome in caplog.text
