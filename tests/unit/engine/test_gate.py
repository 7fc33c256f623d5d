"""What can never be served is refused with its code, before it reaches the model."""

from typing import Any

import pytest

from r3mes.engine.fake import load_fake
from r3mes.engine.gate import Gate
from r3mes.engine.messages import SamplingParams, Submit
from r3mes.errors import InvalidRequest
from r3mes.settings import EngineSettings, ModelSettings

MODEL, _ = load_fake(ModelSettings(max_len=20), EngineSettings())


def submit(prompt: list[int], **wishes: Any) -> Submit:
    return Submit(1, "r", prompt, SamplingParams(**{"max_tokens": 4, **wishes}), None)


@pytest.mark.parametrize(
    ("prompt", "wishes", "code"),
    [
        ([], {}, "empty_prompt"),
        ([259], {}, "invalid_token_id"),
        ([-1], {}, "invalid_token_id"),
        ([2**63], {}, "invalid_token_id"),
        ([1], {"stop_token_ids": (259,), "min_tokens": 2}, "invalid_token_id"),
        ([1], {"logit_bias": {-1: 1.0}}, "invalid_token_id"),
        ([1], {"logit_bias": {0: 1.0, 259: 1.0}}, "invalid_token_id"),
        ([1], {"max_tokens": -1}, "invalid_value"),
        ([1] * 20, {}, "context_length_exceeded"),
        ([1] * 21, {"max_tokens": 0}, "context_length_exceeded"),
    ],
)
def test_it_refuses(prompt: list[int], wishes: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Gate(MODEL, capacity=100).check(submit(prompt, **wishes))

    assert code == refusal.value.code


@pytest.mark.parametrize(
    ("prompt", "wishes"),
    [
        ([0, 258], {"logit_bias": {0: 1.0, 258: 1.0}, "stop_token_ids": (258,)}),
        ([1] * 19, {"max_tokens": 1000}),  # it will be cut at the limit
        ([1] * 20, {"max_tokens": 0}),
    ],
)
def test_it_lets_pass(prompt: list[int], wishes: dict[str, Any]) -> None:
    Gate(MODEL, capacity=100).check(submit(prompt, **wishes))


def test_a_prompt_that_only_the_cache_is_too_small_for_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="KV cache is too small: it holds 8 tokens") as refusal:
        Gate(MODEL, capacity=8).check(submit([1] * 8))

    assert "context_length_exceeded" == refusal.value.code


def test_the_limit_is_the_model_or_the_cache_whichever_is_less() -> None:
    assert (20, 8) == (Gate(MODEL, capacity=100).limit, Gate(MODEL, capacity=8).limit)
