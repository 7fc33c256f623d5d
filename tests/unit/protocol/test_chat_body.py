"""Which chat requests are accepted, and the exact answer to each other one."""

from typing import Any

import pytest
from pydantic import ValidationError

from r3mes.errors import InvalidRequest
from r3mes.protocol.chat import ChatBody
from r3mes.protocol.problems import to_error
from r3mes.settings import LimitSettings

USER = {"role": "user", "content": "Hi"}
LIMITS = LimitSettings()


def parse(**fields: Any) -> ChatBody:
    return ChatBody.model_validate({"messages": [USER], **fields})


def refusal(**fields: Any) -> tuple[str, str | None]:
    """Code and path of the error that these fields get."""
    try:
        parse(**fields).check(LIMITS)
    except ValidationError as error:
        found = to_error(error.errors())
    except InvalidRequest as error:
        found = error
    else:
        pytest.fail(f"{fields} was accepted")
    return found.code, found.param


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 2, "top_p": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 0.01},
        {"top_k": 0},
        {"cache_salt": "", "spaces_between_special_tokens": True, "repeat_penalty": 1.0},
        {"presence_penalty": -2, "frequency_penalty": 2.0},
        {"logit_bias": {"5": -100, "6": 100}},
        {"seed": -(2**63)},
        {"seed": 2**63 - 1},
        {"stop": "x"},
        {"stop": ["x"] * 16},
        {"stop": []},
        {"n": 16},
        {"max_tokens": 2**31 - 1},
        {"logprobs": True, "top_logprobs": 20},
        {"logprobs": False, "top_logprobs": 0},
        {"stream": True, "stream_options": {"include_usage": True, "whatever": 1}},
        {"tools": [], "tool_choice": "none", "functions": []},
        {"tool_choice": "auto", "parallel_tool_calls": False},
        {"response_format": {"type": "text"}},
        {"modalities": ["text"], "store": True, "verbosity": "low", "prediction": {}},
        {"user": "u", "metadata": {"a": "b"}, "service_tier": "auto"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "high"},
        {"continue_final_message": True, "messages": [USER, {"role": "assistant", "content": "a"}]},
        {"truncate_prompt_tokens": -1, "truncation_side": "left"},
        {"unheard_of": {"deep": [1]}},
        {"min_tokens": 4, "max_tokens": 4},
    ],
)
def test_a_request_within_the_bounds_is_accepted(fields: dict[str, Any]) -> None:
    parse(**fields).check(LIMITS)


def test_null_is_the_same_as_leaving_a_field_out() -> None:
    plain = parse()
    nulls = dict.fromkeys([*ChatBody.model_fields, *ChatBody.unsupported], None)

    assert plain.model_dump() == ChatBody.model_validate({**nulls, "messages": [USER]}).model_dump(
        exclude=set(ChatBody.unsupported)
    )


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("stream", "true", "invalid_type"),
        ("stream", 1, "invalid_type"),
        ("temperature", "1", "invalid_type"),
        ("temperature", True, "invalid_type"),
        ("temperature", -0.1, "invalid_value"),
        ("temperature", 2.1, "invalid_value"),
        ("top_p", 0, "invalid_value"),
        ("top_p", 1.1, "invalid_value"),
        ("top_k", -2, "invalid_value"),
        ("top_k", 10**9, "invalid_value"),
        ("top_k", 1.5, "invalid_type"),
        ("min_p", 1.1, "invalid_value"),
        ("presence_penalty", 2.1, "invalid_value"),
        ("frequency_penalty", -2.1, "invalid_value"),
        ("repetition_penalty", 0, "invalid_value"),
        ("repetition_penalty", -1, "invalid_value"),
        ("repetition_penalty", 10**6, "invalid_value"),
        ("max_tokens", 0, "invalid_value"),
        ("max_tokens", -1, "invalid_value"),
        ("max_completion_tokens", 2**63, "invalid_value"),
        ("n", 0, "invalid_value"),
        ("n", 17, "invalid_value"),
        ("n", 10**9, "invalid_value"),
        ("seed", -(2**63) - 1, "invalid_value"),
        ("seed", 2**64, "invalid_value"),
        ("seed", 1.5, "invalid_type"),
        ("stop", ["x"] * 17, "invalid_value"),
        ("stop", "x" * 10240, "invalid_value"),
        ("stop", ["x"] * 10_000, "invalid_value"),
        ("stop", 5, "invalid_type"),
        ("stop_token_ids", [0] * 65, "invalid_value"),
        ("logit_bias", {str(id): 0 for id in range(2000)}, "invalid_value"),
        ("logit_bias", {"abc": 1}, "invalid_token_id"),
        ("logit_bias", {"-1": 1}, "invalid_token_id"),
        ("logit_bias", {"²": 1}, "invalid_token_id"),
        ("logit_bias", [1], "invalid_type"),
        ("top_logprobs", 3, "invalid_value"),
        ("top_logprobs", -1, "invalid_value"),
        ("stream_options", {}, "invalid_combination"),
        ("user", "u" * 10240, "invalid_value"),
        ("metadata", {str(key): "" for key in range(1000)}, "invalid_value"),
        ("messages", [], "invalid_value"),
        ("messages", "hello", "invalid_type"),
        ("messages", [USER] * 5000, "invalid_value"),
        ("response_format", {"type": "json_object"}, "unsupported_parameter"),
        ("tools", [{"type": "function"}], "unsupported_parameter"),
        ("tool_choice", "required", "unsupported_parameter"),
        ("functions", [{}], "unsupported_parameter"),
        ("structured_outputs", {"json": {}}, "unsupported_parameter"),
        ("guided_json", {}, "unsupported_parameter"),
        ("modalities", ["audio"], "unsupported_parameter"),
        ("chat_template", "{{ x }}", "unsupported_parameter"),
        ("cache_salt", "x", "unsupported_parameter"),
        ("spaces_between_special_tokens", False, "unsupported_parameter"),
        ("repeat_penalty", 1.1, "unsupported_parameter"),
        ("n_predict", 5, "unsupported_parameter"),
        ("max_new_tokens", 5, "unsupported_parameter"),
        ("n_probs", 1, "unsupported_parameter"),
        ("samplers", ["top_k"], "unsupported_parameter"),
        ("thinking", {"type": "enabled"}, "unsupported_parameter"),
        ("reasoning", {"effort": "low"}, "unsupported_parameter"),
        ("prompt_logprobs", 1, "unsupported_parameter"),
        ("echo", True, "unsupported_parameter"),
        ("priority", 1, "unsupported_parameter"),
        ("chat_template_kwargs", [], "invalid_type"),
        ("reasoning_effort", "huge", "invalid_value"),
        ("truncate_prompt_tokens", 0, "invalid_value"),
        ("truncation_side", "middle", "invalid_value"),
        ("continue_final_message", True, "invalid_combination"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: Any, code: str) -> None:
    assert (code, field) == refusal(**{field: value})


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"stop": ["a", ""]}, "invalid_value", "stop.1"),
        ({"stop_token_ids": [1, -1]}, "invalid_token_id", "stop_token_ids.1"),
        ({"stop_token_ids": [True]}, "invalid_token_id", "stop_token_ids.0"),
        ({"logit_bias": {"7": 101}}, "invalid_value", "logit_bias.7"),
        ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
        ({"min_tokens": 9, "max_tokens": 8}, "invalid_combination", "min_tokens"),
        (
            {"chat_template_kwargs": {"tokenize": True}},
            "unsupported_parameter",
            "chat_template_kwargs.tokenize",
        ),
        (
            {"chat_template_kwargs": {"__class__": 1}},
            "unsupported_parameter",
            "chat_template_kwargs.__class__",
        ),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "invalid_type",
            "stream_options.include_usage",
        ),
    ],
)
def test_the_path_leads_to_the_place(fields: dict[str, Any], code: str, param: str) -> None:
    assert (code, param) == refusal(**fields)


def test_messages_are_needed() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatBody.model_validate({})

    assert "missing_required_parameter" == to_error(caught.value.errors()).code


@pytest.mark.parametrize(
    ("message", "code", "below"),
    [
        ({"content": "x"}, "invalid_role", "role"),
        ({"role": "tyrant", "content": "x"}, "invalid_role", "role"),
        ({"role": 5, "content": "x"}, "invalid_role", "role"),
        ({"role": "user", "content": None}, "unsupported_content", "content"),
        ({"role": "user"}, "missing_required_parameter", "content"),
        ({"role": "user", "content": 5}, "invalid_type", "content"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]},
            "unsupported_content",
            "content.0.type",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text"}]},
            "missing_required_parameter",
            "content.1.text",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": 1}]},
            "invalid_type",
            "content.0.text",
        ),
        ({"role": "user", "content": ["a"]}, "invalid_type", "content.0"),
        ({"role": "user", "content": "a", "name": 1}, "invalid_type", "name"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            "invalid_type",
            "tool_calls.0.function.arguments",
        ),
    ],
)
def test_a_message_that_cannot_be_is_refused(message: Any, code: str, below: str) -> None:
    assert (code, f"messages.1.{below}") == refusal(messages=[USER, message])


def test_a_message_is_an_object() -> None:
    assert ("invalid_type", "messages.0") == refusal(messages=["hello"])


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb")],
)
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
def test_every_role_may_write_text_in_both_forms(role: str, content: Any, text: str) -> None:
    assert text == parse(messages=[{"role": role, "content": content}]).messages[0].content


def test_unknown_fields_are_counted_and_known_ones_are_not() -> None:
    body = parse(mystery=1, store=True, tools=[], prompt_cache_key="k")

    assert ["mystery"] == body.unknown()


def test_strict_servers_refuse_unknown_fields() -> None:
    parse(store=True).refuse_unknown()
    with pytest.raises(InvalidRequest) as caught:
        parse(mystery=1).refuse_unknown()

    assert ("unknown_parameter", "mystery") == (caught.value.code, caught.value.param)


SAID = {"role": "assistant", "content": "Once upon"}


@pytest.mark.parametrize(
    ("fields", "opened"),
    [
        ({}, True),
        ({"add_generation_prompt": False}, False),
        ({"continue_final_message": True, "messages": [USER, SAID]}, False),
    ],
)
def test_the_template_opens_the_assistant_s_turn_unless_told_otherwise(
    fields: dict[str, Any], opened: bool
) -> None:
    assert opened == parse(**fields).prompted()


def test_a_turn_is_either_opened_or_continued() -> None:
    both = {"continue_final_message": True, "add_generation_prompt": True}

    assert ("invalid_combination", "continue_final_message") == refusal(
        **both, messages=[USER, SAID]
    )


@pytest.mark.parametrize(
    ("fields", "variables"),
    [
        ({}, {}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "enable_thinking": True}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "enable_thinking": False}),
        (
            {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}},
            {"reasoning_effort": "low", "enable_thinking": False},
        ),
    ],
)
def test_the_effort_of_reasoning_reaches_the_template_and_its_own_variables_win(
    fields: dict[str, Any], variables: dict[str, Any]
) -> None:
    assert variables == parse(**fields).template_variables()


def test_a_server_may_allow_fewer_alternatives() -> None:
    body = parse(logprobs=True, top_logprobs=6)

    with pytest.raises(InvalidRequest) as caught:
        body.check(LimitSettings(max_logprobs=5))
    assert "top_logprobs" == caught.value.param


@pytest.mark.parametrize(
    ("fields", "limit"),
    [({}, None), ({"max_tokens": 3}, 3), ({"max_completion_tokens": 4, "max_tokens": 3}, 4)],
)
def test_the_limit_that_was_asked_for_is_the_newer_field_s(
    fields: dict[str, int], limit: int | None
) -> None:
    assert limit == parse(**fields).asked_limit()
