"""The fake runner says what its oracle says, and does not let a wrong block table pass."""

from dataclasses import replace
from typing import Any

import pytest

from r3mes.engine.fake import EOS, FakeRunner, token_at
from r3mes.engine.messages import Logprob
from r3mes.engine.runner import Batch, Row, RowResult
from support.engine import sequence


def runner() -> FakeRunner:
    return FakeRunner(num_blocks=8, block_size=2)


def row(prompt: list[int], blocks: list[int], **wishes: object) -> Row:
    """The whole prompt in one row."""
    return replace(sequence(prompt, **wishes).row(len(prompt)), blocks=blocks)


def run(fake: FakeRunner, *rows: Row) -> list[RowResult]:
    return fake.launch(Batch(rows)).land()


def following(token: int) -> Row:
    """The decode step after the prompt 1, 2, 3 whose answer was `token`."""
    after = sequence([1, 2, 3])
    after.output, after.computed = [token], 3
    return replace(after.row(1), blocks=[4, 5])


def test_a_token_depends_on_seed_and_position_alone() -> None:
    one, *_, same = run(
        runner(), row([1, 2, 3], [0, 1], seed=5), row([7], [2]), row([9, 9, 9], [3, 4], seed=5)
    )

    assert (token_at(5, 3),) == one.tokens == same.tokens


def test_tokens_are_printable() -> None:
    tokens = {token_at(seed, position) for seed in range(20) for position in range(100)}

    assert (32, 126) == (min(tokens), max(tokens))


def test_a_bias_of_100_forces_an_id_even_eos() -> None:
    (result,) = run(runner(), row([1], [0], logit_bias={EOS: 100.0}))

    assert (EOS,) == result.tokens


def test_what_would_end_the_text_is_passed_over_before_min_tokens() -> None:
    natural = token_at(0, 1)
    wishes = {"min_tokens": 1, "logit_bias": {EOS: 100.0}, "stop_token_ids": (natural,)}
    (result,) = run(runner(), row([1], [0], **wishes))

    assert result.tokens[0] not in {EOS, natural}


def test_logprobs_are_those_of_a_certain_choice() -> None:
    (result,) = run(runner(), row([1, 2], [0], logprobs=2, prompt_logprobs=1))
    token = token_at(0, 2)

    assert (Logprob(token, 0.0, 1, [(token, 0.0), (0, -9999.0)]),) == result.logprobs
    assert (Logprob(2, 0.0, 1, [(2, 0.0)]),) == result.prompt_logprobs


def test_a_decode_step_over_its_own_history_is_fine() -> None:
    fake = runner()
    (first,) = run(fake, row([1, 2, 3], [4, 5]))

    (second,) = run(fake, following(first.tokens[0]))
    assert (token_at(0, 4),) == second.tokens


def ahead(*prompts: list[int], **wishes: Any) -> tuple[FakeRunner, list[Row]]:
    """A runner that was given these prompts, and the rows that follow."""
    fake = FakeRunner(num_blocks=8, block_size=2, ahead=True)
    sequences = [sequence(prompt, seed=seed, **wishes) for seed, prompt in enumerate(prompts)]
    blocks = [[2 * place, 2 * place + 1] for place in range(len(prompts))]
    rows = [
        replace(each.row(len(each.prompt)), blocks=held[: -(-len(each.prompt) // 2)])
        for each, held in zip(sequences, blocks, strict=True)
    ]
    run(fake, *rows)
    for place, (each, row) in enumerate(zip(sequences, rows, strict=True)):
        each.launched(row, place=place)
    pairs = zip(sequences, blocks, strict=True)
    return fake, [
        replace(each.row(1), blocks=held[: -(-(each.computed + 1) // 2)]) for each, held in pairs
    ]


def test_a_row_that_follows_gets_the_token_that_was_chosen_before() -> None:
    fake, rows = ahead([1, 2, 3], [4])

    one, two = run(fake, *rows)

    assert ((token_at(0, 4),), (token_at(1, 2),)) == (one.tokens, two.tokens)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"follows": 1}, "another sequence"),
        ({"follows": None}, "unknown"),
        ({"tokens": [64]}, "not just the newest"),
        ({"sample": None}, "not just the newest"),
        ({"blocks": [4, 1]}, "never computed"),
    ],
)
def test_a_row_that_follows_wrongly_fails(change: dict[str, object], fault: str) -> None:
    fake, (row, _) = ahead([1, 2, 3], [4])

    (wrong,) = run(fake, replace(row, **change))

    assert fault in (wrong.error or "")


def test_a_row_that_follows_one_without_a_token_fails() -> None:
    fake, (row,) = ahead([1, 2, 3])
    run(fake, Row([1], 0, [7], None))

    (wrong,) = run(fake, row)

    assert "no token was chosen" in (wrong.error or "")


def test_a_row_with_penalties_cannot_follow() -> None:
    fake, (row,) = ahead([1, 2, 3], frequency_penalty=0.5)

    (wrong,) = run(fake, row)

    assert "hangs on a token" in (wrong.error or "")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"blocks": [4]}, "does not fit"),
        ({"blocks": [4, 5, 6]}, "does not fit"),
        ({"blocks": [4, 4]}, "twice"),
        ({"blocks": [6, 5]}, "never computed"),
        ({"blocks": [5, 4]}, "never computed"),
        ({"blocks": [0, 5]}, "another sequence"),
        ({"tokens": [99]}, "not the rest"),
        ({"start": 2}, "not the rest"),
    ],
)
def test_a_wrong_row_fails_alone(change: dict[str, object], fault: str) -> None:
    fake = runner()
    first, _ = run(fake, row([1, 2, 3], [4, 5]), row([7, 7], [0]))

    wrong, healthy = run(fake, replace(following(first.tokens[0]), **change), row([8], [7]))
    assert wrong.error is not None
    assert fault in wrong.error
    assert (token_at(0, 1),) == healthy.tokens


def test_a_block_that_is_written_may_not_be_in_another_row() -> None:
    one, two = run(runner(), row([1, 2, 3], [0, 1]), row([1, 2, 4], [0, 2]))

    assert one.error == two.error
    assert "belongs to another row" in (one.error or "")
