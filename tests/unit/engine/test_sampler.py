"""The sampler against the reference processors of transformers, and its randomness."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from r3mes.engine.forward import NOT_FINITE, Logits
from r3mes.engine.messages import SamplingParams
from r3mes.engine.runner import Sample
from r3mes.engine.sampler import filtered, inverse_cdf, nucleus, reaching, shape_line, uniform
from r3mes.engine.sampler import sample as sample_logits

VOCABULARY = 1000
EOS = (5,)
PROMPT, OUTPUT = [1, 2, 3, 3, 900], [4, 4, 4, 2]


def sample(logits: torch.Tensor, *wishes: Any) -> torch.Tensor:
    return sample_logits(*Logits.of(logits), *wishes)


def wish(position: int = 9, **params: Any) -> Sample:
    chosen = SamplingParams(**{"max_tokens": 16, **params})
    return Sample(chosen, position, PROMPT, OUTPUT)


def logits(rows: int = 1, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


def ours(params: dict[str, Any]) -> torch.Tensor:
    line, one = logits(), wish(**params)
    shape_line(line[0], one, EOS)
    return filtered(line, [one.params]).softmax(dim=-1)


def reference(params: dict[str, Any]) -> torch.Tensor:
    """The same options through transformers, in the order in which `generate` applies them."""
    ids = torch.tensor([PROMPT + OUTPUT])
    steps: list[Any] = []
    if bias := params.get("logit_bias"):
        steps.append(SequenceBiasLogitsProcessor([[[id], value] for id, value in bias.items()]))
    if "repetition_penalty" in params:
        steps.append(RepetitionPenaltyLogitsProcessor(params["repetition_penalty"]))
    if "min_tokens" in params:
        steps.append(
            MinNewTokensLengthLogitsProcessor(
                len(PROMPT), params["min_tokens"], torch.tensor(EOS), device="cpu"
            )
        )
    if "temperature" in params:
        steps.append(TemperatureLogitsWarper(params["temperature"]))
    if "top_k" in params:
        steps.append(TopKLogitsWarper(params["top_k"]))
    if "top_p" in params:
        steps.append(TopPLogitsWarper(params["top_p"]))
    if "min_p" in params:
        steps.append(MinPLogitsWarper(params["min_p"]))
    scores = logits()
    for step in steps:
        scores = step(ids, scores)
    return scores.softmax(dim=-1)


CASES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.0},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 5000},
    {"top_p": 0.1},
    {"top_p": 0.9},
    {"top_p": 0.999, "temperature": 3.0},  # a nucleus larger than the first look
    {"min_p": 0.05},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"logit_bias": {4: 5.0, 17: -100.0}},
    {"min_tokens": 9},
    {"min_tokens": 4},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.8},
    {"temperature": 1.5, "top_k": 300, "top_p": 0.95, "min_p": 0.01},
    {"logit_bias": {2: 3.0}, "repetition_penalty": 1.2, "temperature": 0.9, "top_p": 0.7},
]


@pytest.mark.parametrize("params", CASES, ids=str)
def test_the_distribution_is_that_of_the_reference_processors(params: dict[str, Any]) -> None:
    torch.testing.assert_close(reference(params), ours(params), rtol=1e-4, atol=1e-7)


def test_presence_and_frequency_count_the_output_only() -> None:
    line = torch.zeros(1, VOCABULARY)

    assert shape_line(line[0], wish(presence_penalty=0.5, frequency_penalty=0.25), EOS)

    assert -(0.5 + 3 * 0.25) == line[0, 4]
    assert -(0.5 + 0.25) == line[0, 2]
    assert 0 == line[0, 1]


def test_min_tokens_hides_stop_ids_and_the_end_token_unless_that_is_ignored() -> None:
    lines = torch.zeros(2, VOCABULARY)

    assert shape_line(lines[0], wish(min_tokens=9, stop_token_ids=(7,)), EOS)
    assert shape_line(lines[1], wish(min_tokens=9, stop_token_ids=(7,), ignore_eos=True), EOS)

    assert [5, 7] == lines[0].isinf().nonzero()[:, 0].tolist()
    assert [7] == lines[1].isinf().nonzero()[:, 0].tolist()


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    draws = 20_000
    params = {"temperature": 0.8, "top_p": 0.95}
    expected = reference(params)[0].double()

    wishes = [wish(position=position, **params) for position in range(draws)]
    line = logits()
    drawn = torch.cat(
        [sample(line.repeat(2000, 1), wishes[i : i + 2000], EOS) for i in range(0, draws, 2000)]
    )

    counts = drawn.bincount(minlength=VOCABULARY).double()
    assert 0 == counts[expected == 0].sum()
    common = expected * draws >= 5
    squares = (counts - expected * draws).square() / (expected * draws)
    freedom = int(common.sum()) - 1
    assert squares[common].sum() < freedom + 5 * (2 * freedom) ** 0.5


def test_the_inverse_of_the_distribution_is_exact_on_a_grid() -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0, 2.0, 1.0, 0.0]]).repeat(8, 1)
    numbers = torch.arange(8, dtype=torch.float64) / 8

    assert [1, 1, 3, 3, 3, 3, 4, 4] == inverse_cdf(weights, numbers).tolist()


def test_a_number_just_below_one_takes_the_last_possible_token() -> None:
    weights = torch.rand(64, VOCABULARY, generator=torch.Generator().manual_seed(0))
    weights[:, 700:] = 0
    numbers = torch.full((64,), 1 - 2.0**-53, dtype=torch.float64)

    assert [699] * 64 == inverse_cdf(weights, numbers).tolist()


def test_a_token_depends_on_its_row_and_never_on_its_neighbours() -> None:
    lines = logits(6)
    wishes = [
        wish(seed=1),
        wish(seed=2, top_p=0.9),
        wish(temperature=0.0),
        wish(seed=3, top_k=7, repetition_penalty=1.5),
        wish(seed=4, min_p=0.1),
        wish(seed=5, temperature=5.0, top_p=0.99),
    ]

    together = sample(lines.clone(), wishes, EOS).tolist()

    for i, one in enumerate(wishes):
        assert [together[i]] == sample(lines[i : i + 1].clone(), [one], EOS).tolist()


def test_equal_seed_and_position_repeat_and_others_do_not() -> None:
    assert uniform([7], [3]) == uniform([7], [3])
    numbers = uniform([7] * 1000 + list(range(1000)), [*range(1000), *([3] * 1000)])
    assert 1999 == len(set(numbers.tolist()))  # (7, 3) is in both halves


def test_any_integer_is_a_seed() -> None:
    numbers = uniform([-1, 2**63, 2**64 + 5, 0], [0, 0, 0, 0])

    assert np.all((numbers >= 0) & (numbers < 1))


def test_random_numbers_are_even_over_positions_and_over_seeds() -> None:
    for numbers in (uniform([11] * 50_000, range(50_000)), uniform(range(50_000), [11] * 50_000)):
        counts, _ = np.histogram(numbers, bins=50, range=(0, 1))
        assert ((counts - 1000) ** 2 / 1000).sum() < 49 + 5 * 98**0.5


def test_temperature_zero_takes_the_most_likely_after_bias() -> None:
    line = logits()
    best = int(line.argmax())

    assert [best] == sample(line.clone(), [wish(temperature=0.0)], EOS).tolist()
    biased = wish(temperature=0.0, logit_bias={best: -100.0})
    assert [int(line[0].topk(2).indices[1])] == sample(line.clone(), [biased], EOS).tolist()


def test_a_temperature_near_zero_is_greedy_and_finite() -> None:
    line = logits()

    assert [int(line.argmax())] == sample(line.clone(), [wish(temperature=1e-6)], EOS).tolist()


def test_a_row_that_is_not_finite_is_told_and_harms_no_other() -> None:
    lines = logits(4)
    lines[0, 3], lines[2, 4] = float("nan"), float("inf")
    wishes = [wish(), wish(seed=1), wish(temperature=0.0), None]

    tokens = sample(lines.clone(), wishes, EOS).tolist()

    alone = sample(lines[1:2].clone(), [wishes[1]], EOS).tolist()
    assert [NOT_FINITE, *alone, NOT_FINITE, int(lines[3].argmax())] == tokens


def test_the_host_asks_no_device_for_a_value() -> None:
    """Tensors on `meta` have none: whoever asks gets an error."""
    wishes = [
        wish(temperature=0.0),
        wish(top_k=3),
        wish(top_p=0.5, min_p=0.1),
        wish(logit_bias={3: 1.0}, min_tokens=50),
        wish(repetition_penalty=1.5, presence_penalty=0.5, temperature=0.0),
        None,
    ]

    assert (6,) == sample(logits(6).to("meta"), wishes, EOS).shape


def test_on_a_device_all_is_looked_at_and_the_same_is_kept() -> None:
    scores = logits(6).log_softmax(dim=-1)
    mass = torch.tensor([[0.01], [0.5], [0.9], [0.99], [0.9999], [1.0]], dtype=torch.float64)
    total = scores.double().logsumexp(dim=-1, keepdim=True)

    least, reached = reaching(scores, total, mass, VOCABULARY)

    assert reached.all()
    assert nucleus(scores, mass).tolist() == least.tolist()
