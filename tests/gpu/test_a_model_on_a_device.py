"""Models as they are served on a CUDA device: the path, its graphs, and launches ahead."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.cuda.cache import DeviceCache
from r3mes.engine.cuda.forward import CudaForward, Limits
from r3mes.engine.cuda.graphs import CudaGraphs, unrecorded
from r3mes.engine.load import LoadedModel, load_model
from r3mes.engine.loop import Engine
from r3mes.engine.messages import SamplingParams, Submit
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.pool_size import Pool
from r3mes.engine.probe import survey
from r3mes.engine.runner import Row
from r3mes.settings import EngineSettings, ModelSettings
from support.engine import Ledger
from support.models import VOCABULARY, Oracle, make_checkpoint

pytestmark = pytest.mark.gpu
KINDS = ["llama", "gemma2", "qwen3", "gpt_oss", "deepseek_v3", "qwen3_moe"]
RECORDED = ["llama", "gemma2", "qwen3"]  # no experts, whose number of rows the host has to know
LENGTHS = (3, 21, 40, 47, 1, 90)
COUNT = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: make_checkpoint(folder / kind, kind) for kind in KINDS}


def load(folder: Path, *, dtype: str = "float32", **engine: Any) -> LoadedModel:
    return load_model(
        ModelSettings(source=str(folder), device="cuda", dtype=dtype),
        EngineSettings(**{"kv_blocks": 64, "max_batch": 12, **engine}),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


def prompts() -> list[list[int]]:
    dice = torch.Generator().manual_seed(1)
    return [torch.randint(VOCABULARY, (n,), generator=dice).tolist() for n in LENGTHS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_served_by_the_kernels_and_answers_as_generate_does(
    folders: dict[str, Path], kind: str
) -> None:
    loaded = load(folders[kind])
    ledger = Ledger()
    engine = Engine(
        loaded.runner,
        model=loaded.info,
        settings=EngineSettings(max_batch=12, chunk_tokens=32),
        clock=time.monotonic,
        deliver=ledger.take,
        on_step=lambda step: None,
    )
    params = SamplingParams(temperature=0.0, max_tokens=COUNT, ignore_eos=True)

    for stream, prompt in enumerate(prompts()):
        engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))
        engine.step()
    while engine.busy:
        engine.step()

    assert "cuda" == loaded.info.compute.path
    assert loaded.runner.ahead
    oracle = Oracle(folders[kind])
    for stream, prompt in enumerate(prompts()):
        expected = oracle.answer(prompt, COUNT)
        assert COUNT // 2 <= expected.sure
        assert expected.ids[: expected.sure] == ledger.ids(stream)[: expected.sure]


@pytest.mark.parametrize("kind", RECORDED)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_served_by_the_kernels_and_recorded(
    folders: dict[str, Path], kind: str, dtype: str
) -> None:
    compute = load(folders[kind], dtype=dtype).info.compute

    assert ("cuda", dtype, "") == (compute.path, compute.weights, compute.why)


def test_the_portable_runner_is_torch_alone(folders: dict[str, Path]) -> None:
    assert "torch" == load(folders["llama"], runner="portable").info.compute.path


@torch.inference_mode()
def test_a_replay_is_what_running_the_step_is(folders: dict[str, Path]) -> None:
    runner = load(folders["llama"]).runner
    forward = runner.forward
    assert isinstance(forward, CudaForward)
    notes = survey(forward.module)

    def made(record: Any) -> ModelRunner:
        cache = DeviceCache(notes.shapes, Pool(64, 16, 1, 1), device=forward.device)
        limits = Limits(tokens=128, rows=12, longest=256, programs=264)
        it = CudaForward(
            forward.module,
            notes.heads,
            cache,
            limits,
            vocab_size=forward.vocab_size,
            record=record,
        )
        return ModelRunner(it, eos=())

    rows = [Row([token], 0, [token], None) for token in range(5)]
    rows += [Row([7], at, [8], None) for at in (0, 1, 2)]
    recorded, plain = made(CudaGraphs()), made(unrecorded)
    assert "" == recorded.forward.graphs.why  # type: ignore[attr-defined]

    for batch in (rows[:5], rows[5:6], rows[6:7], rows[7:], rows[:3]):
        for mine, theirs in zip(recorded.logits(batch), plain.logits(batch), strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-5)
