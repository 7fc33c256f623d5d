"""Every architecture through the real engine, token for token against plain greedy `generate`.

Alone, batched, chunked, preempted and prefix-shared; counters prove that the path was taken. Every
model runs in torch alone, and through the C++ operators where they fit it. A comparison ends at the
first near-tie of the oracle, and the rate of those is printed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from r3mes.engine import lookup
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import LoadedModel, load_model
from r3mes.engine.loop import Engine
from r3mes.engine.messages import SamplingParams, Submit
from r3mes.engine.native.library import Absent, operators
from r3mes.engine.pace import Pace
from r3mes.engine.runner import Batch, Flight, Runner
from r3mes.settings import EngineSettings, ModelSettings
from support.engine import Ledger, eager
from support.models import RECIPES, VOCABULARY, Answer, Oracle, make_checkpoint

COUNT = 24  # tokens of an answer
LENGTHS = (3, 21, 40, 47)
POSITIONS = 512  # of the KV cache
BLOCK_SIZES = {"portable": 8, "auto": 16}
NARROW_HEADS = {"deepseek_v3"}  # narrower than a vector, so that torch alone serves them
SUBJECTS = [
    (kind, runner)
    for kind in RECIPES
    for runner in BLOCK_SIZES
    if runner == "portable" or kind not in NARROW_HEADS
]


@dataclass(frozen=True)
class Narrow:
    """A runner of which the engine uses only some blocks."""

    runner: Runner
    num_blocks: int
    vocab_size: int = VOCABULARY
    ahead: bool = False

    def launch(self, batch: Batch) -> Flight:
        return self.runner.launch(batch)


@dataclass(frozen=True)
class Told:
    """A checkpoint, and what `generate` answers with it."""

    folder: Path
    prompts: list[list[int]]
    answers: list[Answer]


@dataclass(frozen=True)
class Subject:
    loaded: LoadedModel
    block_size: int
    prompts: list[list[int]]
    answers: list[Answer]

    def engine(
        self,
        ledger: Ledger,
        *,
        positions: int = POSITIONS,
        pace: Pace | None = None,
        **settings: Any,
    ) -> Engine:
        return Engine(
            Narrow(self.loaded.runner, positions // self.block_size),
            model=self.loaded.info,
            settings=EngineSettings(**{"block_size": self.block_size, **settings}),
            clock=time.monotonic,
            deliver=ledger.take,
            on_step=lambda step: None,
            pace=pace,
        )

    def refuse_difference(self, ledger: Ledger) -> None:
        for stream, answer in enumerate(self.answers):
            assert answer.ids[: answer.sure] == ledger.ids(stream)[: answer.sure]
            assert COUNT == len(ledger.ids(stream))


def submit(engine: Engine, stream: int, prompt: list[int]) -> None:
    params = SamplingParams(temperature=0.0, max_tokens=COUNT, ignore_eos=True)
    engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()
        engine.check()


@pytest.fixture(scope="module")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """Asks each model once, whatever the order of the tests."""
    torch.set_num_threads(1)

    @cache
    def told(kind: str) -> Told:
        folder = make_checkpoint(tmp_path_factory.mktemp("model") / kind, kind)
        dice = torch.Generator().manual_seed(1)
        prompts = [torch.randint(VOCABULARY, (n,), generator=dice).tolist() for n in LENGTHS]
        prompts[3][:32] = prompts[2][:32]
        oracle = Oracle(folder)
        return Told(folder, prompts, [oracle.answer(prompt, COUNT) for prompt in prompts])

    return told


@pytest.fixture(scope="module", params=SUBJECTS, ids="-".join)
def subject(request: pytest.FixtureRequest, tell: Callable[[str], Told]) -> Subject:
    kind, runner = request.param
    told = tell(kind)
    unsure = sum(COUNT - answer.sure for answer in told.answers) / (COUNT * len(told.answers))
    print(f"{kind}: {unsure:.1%} of the tokens come after a near-tie")
    assert unsure < 0.5
    loaded = load(told.folder, runner=runner)
    if runner == "auto":
        refuse_torch(loaded)
    return Subject(loaded, BLOCK_SIZES[runner], told.prompts, told.answers)


def refuse_torch(loaded: LoadedModel) -> None:
    found = operators()
    if isinstance(found, Absent):
        pytest.skip(found.reason)
    assert "torch" != loaded.info.compute.path, loaded.info.compute.why


def load(folder: Path, *, runner: str) -> LoadedModel:
    size = BLOCK_SIZES[runner]
    return load_model(
        ModelSettings(source=str(folder), device="cpu"),
        EngineSettings(runner=runner, block_size=size, kv_blocks=POSITIONS // size),  # type: ignore[arg-type]
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


def test_alone_each_answer_is_that_of_generate(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, prefix_cache=False)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
        finish(engine)

    subject.refuse_difference(ledger)


def test_batched_neighbours_change_nothing(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, prefix_cache=False)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
    engine.step()

    assert len(subject.prompts) == engine.stats.running
    finish(engine)
    subject.refuse_difference(ledger)


def test_chunked_prompts_give_the_same_answers(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, prefix_cache=False, chunk_tokens=16)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
    finish(engine)

    assert engine.stats.chunks >= 4
    subject.refuse_difference(ledger)


def test_preempted_sequences_are_recomputed_to_the_same_answers(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger, prefix_cache=False, positions=192)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
    finish(engine)

    assert engine.stats.preemptions >= 1
    subject.refuse_difference(ledger)


def test_a_shared_prefix_gives_the_same_answers(subject: Subject) -> None:
    ledger = Ledger()
    engine = subject.engine(ledger)

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
        engine.step()
    finish(engine)

    assert 32 == engine.stats.prefix_hits
    subject.refuse_difference(ledger)


def test_drafts_right_and_wrong_give_the_same_answers(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LENGTH", 1)  # after the same id the same next one: often wrong
    ledger = Ledger()
    engine = subject.engine(ledger, prefix_cache=False, pace=eager())

    for stream, prompt in enumerate(subject.prompts):
        submit(engine, stream, prompt)
    finish(engine)

    assert engine.stats.drafts["rejected"] > 0
    subject.refuse_difference(ledger)
