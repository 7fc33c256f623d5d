"""A runner that is ahead, in the real engine over real models: answers are what they are without.

Greedy ones are those of `generate`; drawn ones, with all that shapes them, those of the same model
whose batches land at once.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.forward import StockForward
from r3mes.engine.kv_store import KVStore
from r3mes.engine.load import LoadedModel, load_model
from r3mes.engine.loop import Engine
from r3mes.engine.messages import SamplingParams, Submit
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.step import PagedStep
from r3mes.settings import EngineSettings, ModelSettings
from support.engine import Ledger
from support.models import VOCABULARY, Answer, Oracle, make_checkpoint

SIZE = 8  # tokens of a block
BLOCKS = 64
COUNT = 24  # tokens of an answer
LENGTHS = (3, 21, 40, 47, 1, 30)
SHAPES: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"top_p": 0.9, "logprobs": 2},
    {"top_k": 20, "min_p": 0.02, "prompt_logprobs": 1},
    {"repetition_penalty": 1.3, "temperature": 0.0},
    {"presence_penalty": 0.5, "frequency_penalty": 0.25, "logprobs": 0},
    {"min_tokens": 8, "logit_bias": {2: 50.0}, "ignore_eos": False},
]


@dataclass(frozen=True)
class Subject:
    loaded: LoadedModel
    ahead: ModelRunner
    prompts: list[list[int]]
    answers: list[Answer]

    def engine(self, ledger: Ledger, *, ahead: bool = True, blocks: int = BLOCKS) -> Engine:
        runner = self.ahead if ahead else self.loaded.runner
        runner.num_blocks = blocks
        return Engine(
            runner,
            model=self.loaded.info,
            settings=EngineSettings(block_size=SIZE, chunk_tokens=16, prompt_lookup=False),
            clock=time.monotonic,
            deliver=ledger.take,
            on_step=lambda step: None,
        )

    def drawn(self, *, ahead: bool, blocks: int = BLOCKS) -> Ledger:
        ledger = Ledger()
        engine = self.engine(ledger, ahead=ahead, blocks=blocks)
        for stream, (prompt, shape) in enumerate(zip(self.prompts, SHAPES, strict=True)):
            submit(engine, stream, prompt, seed=stream, **shape)
            engine.step()
        finish(engine)
        return ledger

    def refuse_difference(self, ledger: Ledger, *, but: tuple[int, ...] = ()) -> None:
        for stream, answer in enumerate(self.answers):
            ids = ledger.ids(stream)
            assert answer.ids[: answer.sure][: len(ids)] == ids[: answer.sure]
            assert stream in but or COUNT == len(ids)


def submit(engine: Engine, stream: int, prompt: list[int], **wishes: Any) -> None:
    params = SamplingParams(**{"max_tokens": COUNT, "ignore_eos": True, **wishes})
    engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()
        engine.check()
    engine.step()
    assert 0 == engine.stats.blocks_used


def run_ahead(loaded: LoadedModel) -> ModelRunner:
    """The same module and cache, as they would be on a device."""
    plain = loaded.runner.forward
    assert isinstance(plain, StockForward)
    store = plain.cache
    assert isinstance(store, KVStore)
    forward = StockForward(
        plain.module.plain,
        store,
        lambda rows: PagedStep(rows, store, torch.float32),
        vocab_size=VOCABULARY,
        ahead=True,
    )
    return ModelRunner(forward, eos=loaded.info.eos_token_ids)


@pytest.fixture(scope="module", params=["llama", "gemma2", "qwen3_moe"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    torch.set_num_threads(1)
    folder = make_checkpoint(tmp_path_factory.mktemp("model") / request.param, request.param)
    dice = torch.Generator().manual_seed(1)
    prompts = [torch.randint(VOCABULARY, (n,), generator=dice).tolist() for n in LENGTHS]
    prompts[5][:24] = prompts[2][:24]
    oracle = Oracle(folder)
    answers = [oracle.answer(prompt, COUNT) for prompt in prompts]
    loaded = load(folder)
    return Subject(loaded, run_ahead(loaded), prompts, answers)


def load(folder: Path) -> LoadedModel:
    return load_model(
        ModelSettings(source=str(folder), device="cpu"),
        EngineSettings(runner="portable", block_size=SIZE, kv_blocks=BLOCKS),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


@pytest.mark.parametrize("blocks", [BLOCKS, 20])
def test_greedy_answers_are_those_of_generate(subject: Subject, blocks: int) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, blocks=blocks)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt, temperature=0.0)
        engine.step()
    finish(engine)

    assert (blocks < BLOCKS) == (engine.stats.preemptions > 0)
    assert 24 == engine.stats.prefix_hits
    subject.refuse_difference(ledger)


def test_who_is_aborted_in_flight_harms_nobody(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, blocks=20)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt, temperature=0.0)
        engine.step()
        engine.step()
        if stream in (1, 3):
            engine.abort("w", [stream])
    finish(engine)

    assert len(ledger.ids(1)) < COUNT
    subject.refuse_difference(ledger, but=(1, 3))


@pytest.mark.parametrize("blocks", [BLOCKS, 20])
def test_drawn_answers_are_those_of_batches_that_land_at_once(
    subject: Subject, blocks: int
) -> None:
    expected, told = subject.drawn(ahead=False), subject.drawn(ahead=True, blocks=blocks)

    for stream in range(len(SHAPES)):
        assert expected.ids(stream) == told.ids(stream)
        assert expected.last(stream).finish == told.last(stream).finish
        assert logprobs(expected, stream) == pytest.approx(logprobs(told, stream), abs=1e-3)
    assert ("stop", 9) == (told.last(5).finish, len(told.ids(5)))


def logprobs(ledger: Ledger, stream: int) -> list[float]:
    """All that were told, of prompt and answer, alternatives included."""
    entries = [
        entry
        for update in ledger.updates["w", stream]
        for entry in [*(update.prompt_logprobs or []), *(update.logprobs or [])]
        if entry is not None
    ]
    return [value for entry in entries for value in (entry.logprob, *(v for _, v in entry.top))]
