"""A model's runner row by row: logprobs, prompt logprobs, and rows that fail alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from r3mes.engine import model_runner
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.forward import StockForward
from r3mes.engine.load import load_model
from r3mes.engine.messages import SamplingParams
from r3mes.engine.model_flight import BROKEN
from r3mes.engine.model_runner import ModelRunner
from r3mes.engine.runner import UNKNOWN, Batch, Row, RowResult, Sample
from r3mes.settings import EngineSettings, ModelSettings
from support.models import VOCABULARY, Oracle, make_checkpoint

PROMPT = [9, 8, 7, 60, 50, 40, 30, 20, 11, 12, 13]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_checkpoint(tmp_path_factory.mktemp("model") / "small", "llama")


@pytest.fixture(params=[False, True], ids=["in step", "ahead"])
def runner(folder: Path, request: pytest.FixtureRequest) -> ModelRunner:
    runner = load_model(
        ModelSettings(source=str(folder), device="cpu"),
        EngineSettings(runner="portable", kv_blocks=8, block_size=4),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    ).runner
    plain = runner.forward
    assert isinstance(plain, StockForward)
    plain.ahead = request.param
    return ModelRunner(plain, eos=runner.eos)


@pytest.fixture(scope="module")
def expected(folder: Path) -> torch.Tensor:
    """Log-probabilities after each position of PROMPT, by the stock model."""
    with torch.inference_mode():
        logits = Oracle(folder).model(torch.tensor([PROMPT])).logits[0]
    return logits.log_softmax(dim=-1)


def prompt_row(blocks: list[int], tokens: list[int] = PROMPT, **params: Any) -> Row:
    chosen = SamplingParams(**{"max_tokens": 4, "temperature": 0.0, **params})
    return Row(tokens, 0, blocks, Sample(chosen, len(tokens), tokens, []))


def following(row: Row, place: int) -> Row:
    """The next row of the same sequence, before its token is known."""
    assert row.sample is not None
    stop = row.start + len(row.tokens)
    sample = replace(row.sample, position=stop + 1)
    return Row([UNKNOWN], stop, row.blocks, sample, follows=place)


def module_of(runner: ModelRunner) -> Any:
    assert isinstance(runner.forward, StockForward)
    return runner.forward.module.plain


def run(runner: ModelRunner, *rows: Row) -> list[RowResult]:
    return runner.launch(Batch(rows)).land()


def test_logprobs_are_those_of_the_raw_distribution(
    runner: ModelRunner, expected: torch.Tensor
) -> None:
    best = int(expected[-1].argmax())
    row = prompt_row([0, 1, 2], logprobs=3, logit_bias={best: -100.0})

    (result,) = run(runner, row)

    [entry] = result.logprobs
    second = expected[-1].topk(3)
    assert int(second.indices[1]) == result.tokens[0] == entry.token
    assert 2 == entry.rank
    assert second.indices.tolist() == [token for token, _ in entry.top]
    assert second.values.tolist() == pytest.approx([value for _, value in entry.top], 1e-4)
    assert float(second.values[1]) == pytest.approx(entry.logprob, 1e-4)


def test_no_alternatives_is_not_the_same_as_no_logprobs(runner: ModelRunner) -> None:
    (result,) = run(runner, prompt_row([0, 1, 2], logprobs=0))

    [entry] = result.logprobs
    assert [] == entry.top


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_prompt_logprobs_are_the_same_however_many_fit_into_memory(
    runner: ModelRunner,
    expected: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(model_runner, "LOGITS_BYTES", at_once * VOCABULARY * 4)
    row = replace(prompt_row([4, 1, 2]), prompt_logprobs=2, targets=PROMPT[1:])

    (result,) = run(runner, row)

    assert PROMPT[1:] == [one.token for one in result.prompt_logprobs]
    assert [float(expected[i, PROMPT[i + 1]]) for i in range(10)] == pytest.approx(
        [one.logprob for one in result.prompt_logprobs], abs=1e-4
    )
    assert expected[:10].topk(2).indices.tolist() == [
        [token for token, _ in one.top] for one in result.prompt_logprobs
    ]
    assert (int(expected[-1].argmax()),) == result.tokens


def test_a_row_that_samples_nothing_has_no_token(runner: ModelRunner) -> None:
    (result,) = run(runner, Row(PROMPT, 0, [0, 1, 2], None))

    assert RowResult() == result


def test_a_row_whose_numbers_are_not_finite_fails_alone(runner: ModelRunner) -> None:
    (alone,) = run(runner, prompt_row([0, 1, 2]))
    with torch.no_grad():
        module_of(runner).get_input_embeddings().weight[77] = float("nan")

    bad, good = run(runner, prompt_row([4, 5], [1, 77, 2, 3, 4, 5]), prompt_row([0, 1, 2]))

    assert RowResult(error=BROKEN) == bad
    assert alone == good


def test_blocks_of_a_failed_row_do_not_harm_their_next_owner(runner: ModelRunner) -> None:
    (alone,) = run(runner, prompt_row([0, 1, 2]))
    with torch.no_grad():
        module_of(runner).get_input_embeddings().weight[77] = float("nan")
    run(runner, prompt_row([6, 7, 5], [77] * 12))

    run(runner, Row(PROMPT[:10], 0, [6, 7, 5], None))
    (after,) = run(runner, replace(prompt_row([6, 7, 5]), tokens=PROMPT[10:], start=10))

    assert alone == after


@pytest.mark.parametrize("runner", [True], indirect=True)
@pytest.mark.parametrize("params", [{}, {"temperature": 1.0, "logprobs": 1}])
def test_rows_that_follow_are_fed_what_was_chosen_in_any_order(
    runner: ModelRunner, params: dict[str, Any]
) -> None:
    long, short = prompt_row([0, 1, 2], **params), prompt_row([4], PROMPT[:2], **params)
    flights = [runner.launch(Batch((long, short)))]
    follow = [following(short, 1), following(long, 0)]
    flights.append(runner.launch(Batch(tuple(follow))))
    (one, two), (three, four) = (flight.land() for flight in flights)

    known = [replace(follow[0], tokens=two.tokens), replace(follow[1], tokens=one.tokens)]
    assert [three, four] == run(runner, *(replace(row, follows=None) for row in known))


@pytest.mark.parametrize("runner", [True], indirect=True)
def test_what_follows_a_failed_row_fails_too_and_harms_nobody(runner: ModelRunner) -> None:
    good = prompt_row([0, 1, 2])
    expected = run(runner, good)
    expected += run(runner, replace(following(good, 0), tokens=expected[0].tokens, follows=None))
    with torch.no_grad():
        module_of(runner).get_input_embeddings().weight[100] = float("nan")
    bad = prompt_row([4, 5], [1, 100, 2, 3, 4, 5])

    flights = [
        runner.launch(Batch((bad, good))),
        runner.launch(Batch((following(bad, 0), following(good, 1)))),
    ]
    (first, *before), (second, *after) = (flight.land() for flight in flights)

    assert [RowResult(error=BROKEN)] * 2 == [first, second]
    assert expected == [*before, *after]
    assert expected[:1] == run(runner, replace(good, blocks=[5, 4, 0]))


def test_an_unlikely_logprob_has_a_floor(runner: ModelRunner) -> None:
    with torch.no_grad():
        module_of(runner).get_output_embeddings().weight[:] *= 1e6

    (result,) = run(runner, prompt_row([0, 1, 2], logprobs=20))

    [entry] = result.logprobs
    assert -9999.0 == entry.top[-1][1]
