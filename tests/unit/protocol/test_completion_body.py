"""Which completions requests are accepted, and the exact answer to each other one."""

from typing import Any

import pytest
from pydantic import ValidationError

from r3mes.errors import InvalidRequest
from r3mes.protocol.completions import CompletionBody
from r3mes.protocol.problems import to_error
from r3mes.protocol.tokens import TokenizeBody
from r3mes.settings import LimitSettings

LIMITS = LimitSettings()


def refusal(**fields: Any) -> tuple[str, str | None]:
    try:
        CompletionBody.model_validate({"prompt": "a", **fields}).check(LIMITS)
    except ValidationError as error:
        found = to_error(error.errors())
    except InvalidRequest as error:
        found = error
    else:
        pytest.fail(f"{fields} was accepted")
    return found.code, found.param


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_a_prompt_has_four_forms(written: Any, read: Any) -> None:
    assert read == CompletionBody(prompt=written).prompt


@pytest.mark.parametrize("prompt", ["", [], [[]], [""], ["a", ""], [[1], []]])
def test_an_empty_prompt_is_refused(prompt: Any) -> None:
    assert ("empty_prompt", "prompt") == refusal(prompt=prompt)


@pytest.mark.parametrize("prompt", [[-1], [True], [1.5], [2**63], [1, None], [1, "a"], [[1, -1]]])
def test_a_prompt_of_ids_that_are_none_is_refused(prompt: Any) -> None:
    assert ("invalid_token_id", "prompt") == refusal(prompt=prompt)


@pytest.mark.parametrize(
    ("prompt", "code", "param"),
    [
        (["a"] * 10_000, "too_many_prompts", "prompt"),
        (["a"] * 129, "too_many_prompts", "prompt"),
        (5, "invalid_type", "prompt"),
        ({"a": 1}, "invalid_type", "prompt"),
        (["a", 1], "invalid_type", "prompt.1"),
        ([[1], "a"], "invalid_type", "prompt.1"),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(prompt: Any, code: str, param: str) -> None:
    assert (code, param) == refusal(prompt=prompt)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("max_tokens", 0, "invalid_value"),
        ("max_tokens", -1, "invalid_value"),
        ("logprobs", 21, "invalid_value"),
        ("logprobs", True, "invalid_type"),
        ("prompt_logprobs", -1, "invalid_value"),
        ("best_of", 2, "unsupported_parameter"),
        ("suffix", "x", "unsupported_parameter"),
        ("prompt_embeds", "x", "unsupported_parameter"),
        ("images", ["x"], "unsupported_parameter"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: Any, code: str) -> None:
    assert (code, field) == refusal(**{field: value})


def test_best_of_is_at_least_n() -> None:
    assert ("invalid_value", "best_of") == refusal(n=2, best_of=1)


def test_prompt_logprobs_are_not_streamed() -> None:
    assert ("invalid_combination", "prompt_logprobs") == refusal(prompt_logprobs=1, stream=True)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [({}, 16), ({"max_tokens": None}, 16), ({"max_tokens": 0, "echo": True}, 0)],
)
def test_sixteen_tokens_are_made_by_default(fields: dict[str, Any], limit: int) -> None:
    assert limit == CompletionBody(prompt="a", **fields).token_limit()


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, None),
        ({"logprobs": 3}, None),
        ({"logprobs": 3, "echo": True}, 3),
        ({"prompt_logprobs": 0}, 0),
        ({"logprobs": 3, "echo": True, "prompt_logprobs": 5}, 5),
    ],
)
def test_prompt_logprobs_are_made_for_those_who_see_them(
    fields: dict[str, Any], wanted: int | None
) -> None:
    assert wanted == CompletionBody(prompt="a", **fields).prompt_alternatives()


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        (
            {"prompt": "a", "messages": [{"role": "user", "content": "a"}]},
            "invalid_combination",
            "messages",
        ),
        ({"prompt": 5}, "invalid_type", "prompt"),
    ],
)
def test_text_to_tokenize_has_one_source(body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TokenizeBody.model_validate(body)

    found = to_error(caught.value.errors())
    assert (code, param) == (found.code, found.param)


@pytest.mark.parametrize("field", ["logprobs", "prompt_logprobs"])
def test_a_server_may_allow_fewer_alternatives(field: str) -> None:
    body = CompletionBody.model_validate({"prompt": "a", field: 6})

    with pytest.raises(InvalidRequest) as caught:
        body.check(LimitSettings(max_logprobs=5))
    assert field == caught.value.param


def test_a_body_is_an_object() -> None:
    with pytest.raises(ValidationError):
        CompletionBody.model_validate([1])


def test_what_is_within_a_server_s_limits_is_accepted() -> None:
    body = CompletionBody.model_validate({"prompt": ["a", "b"], "logprobs": 5})

    body.check(LimitSettings(max_logprobs=5, max_prompts=2))
