"""Messages of requests in the shape that templates expect."""

import pytest

from r3mes.protocol.chat import ChatMessage
from r3mes.replica.text.conversation import template_messages


def shaped(*messages: dict[str, object], knows_developer: bool = False) -> list[dict[str, object]]:
    parsed = [ChatMessage.model_validate(message) for message in messages]
    return template_messages(parsed, knows_developer=knows_developer)


DEEP = '{"a":' * 400 + "1" + "}" * 400


def call(arguments: str | None) -> dict[str, object]:
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": "1", "function": function}]}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("", {}),
        (None, {}),
        ("{oops", {"malformed_arguments": "{oops"}),
        ("[1]", {"malformed_arguments": "[1]"}),
        ("[" * 100_000, {"malformed_arguments": "[" * 100_000}),
        (DEEP, {"malformed_arguments": DEEP}),
        (r'{"a": "\ud800"}', {"malformed_arguments": r'{"a": "\ud800"}'}),
        ('{"a": NaN}', {"malformed_arguments": '{"a": NaN}'}),
    ],
)
def test_arguments_reach_the_template_as_an_object(written: str | None, read: object) -> None:
    message = shaped(call(written))[0]

    assert read == message["tool_calls"][0]["function"]["arguments"]


def test_an_assistant_without_content_says_nothing() -> None:
    assert [{"role": "assistant", "content": ""}] == shaped({"role": "assistant", "content": None})


def test_a_legacy_function_call_and_its_result_are_a_tool_call_and_its_result() -> None:
    found = shaped(
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )

    assert "f" == found[0]["tool_calls"][0]["function"]["name"]
    assert {"role": "tool", "name": "f", "content": "1"} == found[1]


@pytest.mark.parametrize(("knows", "role"), [(False, "system"), (True, "developer")])
def test_a_developer_is_the_system_unless_the_template_knows_better(knows: bool, role: str) -> None:
    found = shaped({"role": "developer", "content": "Be brief."}, knows_developer=knows)

    assert role == found[0]["role"]


def test_leading_system_messages_become_one() -> None:
    system = {"role": "system", "content": "a"}
    user = {"role": "user", "content": "b"}

    assert [{"role": "system", "content": "a\n\na"}, user, system] == shaped(
        system, system, user, system
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_taken_under_both_names(name: str) -> None:
    found = shaped({"role": "assistant", "content": "x", name: "because"})

    assert "because" == found[0]["reasoning_content"]
