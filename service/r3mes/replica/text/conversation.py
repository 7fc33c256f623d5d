"""Brings the messages of a request into the shape that chat templates expect. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from r3mes.errors import InvalidRequest
from r3mes.protocol.chat import ChatMessage, FunctionCall
from r3mes.replica.strict_json import json_object

MALFORMED = (
    "malformed_arguments"  # what a template sees of arguments that are no strict JSON object
)

Message = dict[str, Any]


def template_messages(messages: Sequence[ChatMessage], *, knows_developer: bool) -> list[Message]:
    """`knows_developer`: the template has words for that role, which is else a system message."""
    shaped = [template_message(message) for message in messages]
    if not knows_developer:
        for message in shaped:
            if message["role"] == "developer":
                message["role"] = "system"
    return merged_systems(shaped)


def template_message(message: ChatMessage) -> Message:
    """Only what is there: many templates ask whether a field is defined."""
    shaped: Message = {"role": message.role, "content": message.content or ""}
    if message.role == "function":
        shaped["role"] = "tool"
    for name in ("name", "tool_call_id"):
        value = getattr(message, name)
        if value is not None:
            shaped[name] = value
    reasoning = message.reasoning_content or message.reasoning
    if reasoning:
        shaped["reasoning_content"] = reasoning
    calls = tool_calls(message)
    if calls:
        shaped["tool_calls"] = calls
    return shaped


def tool_calls(message: ChatMessage) -> list[Message]:
    calls = [
        {"id": call.id, "type": "function", "function": function(call.function)}
        for call in message.tool_calls or ()
    ]
    if message.function_call is not None:
        calls.append({"id": None, "type": "function", "function": function(message.function_call)})
    return calls


def function(call: FunctionCall) -> Message:
    return {"name": call.name, "arguments": arguments(call.arguments)}


def arguments(text: str | None) -> Any:
    """The object that the string holds; templates write it down again in their own way."""
    if not text or not text.strip():
        return {}
    try:
        return json_object(text.encode())
    except InvalidRequest:
        return {MALFORMED: text}


def merged_systems(messages: Iterable[Message]) -> list[Message]:
    """One system message at the start instead of several; many templates take no second one."""
    merged: list[Message] = []
    for message in messages:
        if len(merged) == 1 and merged[0]["role"] == message["role"] == "system":
            merged[0]["content"] += "\n\n" + message["content"]
        else:
            merged.append(message)
    return merged
