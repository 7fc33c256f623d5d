"""Real models through the whole path, its kernels interpreted: what `generate` says, they say."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from r3mes.engine import paths
from r3mes.engine.architecture import build_config, model_class
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.cuda import graphs
from r3mes.engine.cuda.cache import DeviceCache
from r3mes.engine.cuda.forward import CudaForward, Limits
from r3mes.engine.cuda.graphs import unrecorded
from r3mes.engine.load import read_module
from r3mes.engine.loop import Engine
from r3mes.engine.messages import SamplingParams, Submit
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.paths import Module
from r3mes.engine.pool_size import Pool
from r3mes.engine.probe import Probe
from r3mes.engine.runner import UNKNOWN, Batch, Row, RowResult, Sample
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings
from support.engine import Ledger, eager
from support.model_info import info_of
from support.models import ALTERNATING, Oracle, make_checkpoint

KINDS: dict[str, dict[str, Any]] = {  # of two layers, since the interpreter is slow
    "llama": {},
    "gemma2": {"layer_types": ALTERNATING[:2]},
    "gpt_oss": {"layer_types": ALTERNATING[:2]},
    "qwen3": {},
    "deepseek_v3": {"first_k_dense_replace": 1},
}
PROMPTS = [[9, 8, 7, 60, 50, 40, 30, 20, 11, 12, 13], [5, 6, 7] * 8, [77]]
TABLES = [[3, 0], [1, 5, 2], [6]]
COUNT = 3  # tokens of an answer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    return {
        kind: make_checkpoint(folder / kind, kind, num_hidden_layers=2, **changes)
        for kind, changes in KINDS.items()
    }


def read(folder: Path) -> Module:
    checkpoint = read_checkpoint(folder)
    config = build_config(checkpoint.config)
    settings = ModelSettings(source=str(folder), device="cpu")
    native = model_class(config)
    return read_module(settings, folder, config, checkpoint.weights, native_class=native)


def forward_of(it: Module, *, rows: int = 3) -> CudaForward:
    cache = DeviceCache(it.survey.shapes, Pool(8, 16, 1, 1), device=it.device)
    for pages in cache.layers.values():
        for one in pages:
            one.fill_(float("nan"))  # nothing that was not written is read
    return CudaForward(
        it.module,
        it.survey.heads,
        cache,
        Limits(tokens=64, rows=rows, longest=256, programs=8),
        vocab_size=it.vocab_size,
        record=unrecorded,
    )


@pytest.fixture(scope="module")
def llama(folders: dict[str, Path]) -> Module:
    return read(folders["llama"])


@pytest.fixture
def forward(llama: Module) -> CudaForward:
    return forward_of(llama)


def wish(prompt: list[int], output: list[int]) -> Sample:
    params = SamplingParams(temperature=0.0, max_tokens=COUNT, ignore_eos=True)
    return Sample(params, len(prompt) + len(output), prompt, output)


def launch(runner: ModelRunner, *rows: Row) -> list[RowResult]:
    return runner.launch(Batch(rows)).land()


def generate(runner: ModelRunner) -> list[list[int]]:
    """Greedy answers to all prompts side by side; the second one's comes in two chunks."""
    ids = [list(prompt) for prompt in PROMPTS]
    fed = [0, 10, 0]
    launch(runner, Row(ids[1][:10], 0, TABLES[1][:1], None))
    for _ in range(COUNT):
        rows = [
            Row(one[done:], done, table[: -(-len(one) // 16)], wish(prompt, one[len(prompt) :]))
            for one, done, table, prompt in zip(ids, fed, TABLES, PROMPTS, strict=True)
        ]
        fed = [len(one) for one in ids]
        for one, result in zip(ids, launch(runner, *rows), strict=True):
            one += result.tokens
    return [one[len(prompt) :] for one, prompt in zip(ids, PROMPTS, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_answers_as_generate_does(folders: dict[str, Path], kind: str) -> None:
    it = read(folders[kind])
    probe = Probe.of(it.module, vocab_size=it.vocab_size)
    oracle = Oracle(folders[kind])
    runner = ModelRunner(forward_of(it), eos=it.eos)

    probe.compare(runner, "exact")
    for prompt, answer in zip(PROMPTS, generate(runner), strict=True):
        expected = oracle.answer(prompt, COUNT)
        assert COUNT // 2 <= expected.sure
        assert expected.ids[: expected.sure] == answer[: expected.sure]


def live(forward: CudaForward, *, but: list[int]) -> Iterator[torch.Tensor]:
    """The cache without those blocks."""
    kept = [block for block in range(forward.num_blocks) if block not in but]
    for pages in forward.cache.layers.values():
        for one in pages:
            yield one[kept]


def test_a_batch_that_is_filled_up_writes_to_its_own_blocks_alone(llama: Module) -> None:
    """NaN stands wherever nothing was written."""
    wide = forward_of(llama, rows=4)
    runner = ModelRunner(wide, eos=())

    launch(runner, *(Row([7], 0, [block], None) for block in (2, 5, 1)))

    assert 4 == wide.graphs.bucket(3)
    for one in live(wide, but=[1, 2, 5]):
        assert one.isnan().all()
    for pages in wide.cache.layers.values():
        for one in pages:
            assert one[[1, 2, 5], :, 0].isfinite().all()
            assert one[[1, 2, 5], :, 1:].isnan().all()


def test_compiling_and_recording_write_nothing(forward: CudaForward) -> None:
    for one in live(forward, but=[]):
        assert one.isnan().all()


def test_a_filled_up_batch_answers_as_each_row_alone(llama: Module) -> None:
    wide = forward_of(llama, rows=4)
    rows = [Row([token], 0, [token], None) for token in range(3)]

    with torch.inference_mode():
        together = wide.logits(rows, range(3), last=None).lines.clone()
        alone = [wide.logits([row], [0], last=None).lines.clone() for row in rows]

    assert (3, llama.vocab_size) == tuple(together.shape)
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fed", [[UNKNOWN], [4, UNKNOWN]])
def test_a_token_that_follows_is_the_one_that_was_chosen(
    forward: CudaForward, fed: list[int]
) -> None:
    last = torch.tensor([3, 99, 5])
    known = [*fed[:-1], 99]
    keep = [len(fed) - 1]

    with torch.inference_mode():
        expected = forward.logits([Row(known, 0, [1], None)], keep, last=None).lines.clone()
        follower = Row(fed, 0, [2], None, follows=1)
        lines = forward.logits([follower], keep, last=last).lines

    torch.testing.assert_close(expected, lines, rtol=0, atol=0)


def test_what_follows_a_row_that_failed_is_fed_some_token(forward: CudaForward) -> None:
    """Its result is dropped, but a number below 0 would be no place in the embedding."""
    with torch.inference_mode():
        logits = forward.logits(
            [Row([UNKNOWN], 0, [1], None, follows=0)], [0], last=torch.tensor([-1])
        )

    assert logits.lines.isfinite().all()


def test_a_model_without_logits_to_keep_yields_the_kept_lines(llama: Module) -> None:
    class Plain:
        """The model's forward without that keyword."""

        def forward(self, **asked: Any) -> Any:
            return llama.module(**asked)

        __call__ = forward

    it = forward_of(replace(llama, module=Plain()))
    rows = [Row([4, 5, 6], 0, [1], None)]

    with torch.inference_mode():
        expected = forward_of(llama).logits(rows, [1, 2], last=None).lines
        lines = it.logits(rows, [1, 2], last=None).lines

    torch.testing.assert_close(expected, lines, rtol=1e-5, atol=1e-5)


def test_the_engine_launches_ahead_and_answers_as_generate_does(
    llama: Module, folders: dict[str, Path]
) -> None:
    """Chunks beside decode, rows that follow, rows that come late: all through one engine."""
    ledger = Ledger()
    runner = ModelRunner(forward_of(llama), eos=llama.eos)
    assert runner.ahead
    engine = Engine(
        runner,
        model=info_of(max_len=64, vocab_size=llama.vocab_size),
        settings=EngineSettings(block_size=16, max_batch=3, chunk_tokens=16, prompt_lookup=False),
        clock=time.monotonic,
        deliver=ledger.take,
        on_step=lambda step: None,
        pace=eager(16),
    )
    params = SamplingParams(temperature=0.0, max_tokens=COUNT, ignore_eos=True)

    for stream, prompt in enumerate(PROMPTS):
        engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))
        engine.step()
    while engine.busy:
        engine.step()

    for stream, prompt in enumerate(PROMPTS):
        expected = Oracle(folders["llama"]).answer(prompt, COUNT)
        assert COUNT // 2 <= expected.sure
        assert expected.ids[: expected.sure] == ledger.ids(stream)[: expected.sure]
        assert COUNT == len(ledger.ids(stream))


def test_blocks_of_a_failed_row_do_not_harm_their_next_owner(folders: dict[str, Path]) -> None:
    it = read(folders["llama"])
    runner = ModelRunner(forward_of(it), eos=())
    good = Row([4, 5, 6], 0, [1], wish([4, 5, 6], []))
    (alone,) = launch(runner, good)
    with torch.no_grad():
        it.module.get_input_embeddings().weight[77] = float("nan")

    (failed,) = launch(runner, Row([77] * 9, 0, [1], wish([77] * 9, [])))
    (after,) = launch(runner, good)

    assert failed.error
    assert alone == after


@pytest.fixture
def a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a GPU before it computes; nothing is recorded without one."""
    seen = SimpleNamespace(multi_processor_count=4, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: seen)
    monkeypatch.setattr(graphs, "CudaGraphs", lambda: unrecorded)


@pytest.mark.usefixtures("a_device")
@pytest.mark.parametrize(
    ("path", "why", "runner"),
    [("cuda", "", "auto"), ("torch", "engine.runner is portable", "portable")],
)
def test_a_gpu_is_served_by_the_kernels_unless_torch_alone_is_wished(
    llama: Module, path: str, why: str, runner: Literal["auto", "portable"]
) -> None:
    engine = EngineSettings(runner=runner, max_batch=2, chunk_tokens=16)
    probe = Probe.of(llama.module, vocab_size=llama.vocab_size)

    chosen = paths.on_cuda(llama, probe, ModelSettings(), engine)

    assert (path, why) == (chosen.compute.path, chosen.compute.why)
    assert chosen.forward(Pool(8, 16, 9, 9)).ahead == (path == "cuda")


def test_on_a_gpu_what_only_the_operators_can_do_is_refused(llama: Module) -> None:
    probe = Probe.of(llama.module, vocab_size=llama.vocab_size)

    with pytest.raises(StartError, match=r"model.weights=int8 needs the C\+\+ operators"):
        paths.on_cuda(llama, probe, ModelSettings(weights="int8"), EngineSettings())
