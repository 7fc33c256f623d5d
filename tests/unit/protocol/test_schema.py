"""What the JSON schema of a body says is what the body takes."""

from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel, ValidationError

from r3mes.protocol.chat import ChatBody
from r3mes.protocol.completions import CompletionBody
from r3mes.protocol.tokens import DetokenizeBody, TokenizeBody

USER = {"role": "user", "content": "Hi"}


def accepted(body: type[BaseModel], fields: dict[str, Any]) -> bool:
    try:
        body.model_validate(fields)
    except ValidationError:
        return False
    return True


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


@pytest.mark.parametrize(
    ("body", "fields", "good"),
    [
        (DetokenizeBody, {"tokens": [0]}, True),
        (DetokenizeBody, {"tokens": [-1]}, False),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": -1}, True),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": 1}, True),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": None}, True),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": 0}, False),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": -2}, False),
        (CompletionBody, {"prompt": "a", "truncate_prompt_tokens": 1 << 31}, False),
        (CompletionBody, {"prompt": "a", "repetition_penalty": 0.01}, True),
        (CompletionBody, {"prompt": "a", "repetition_penalty": 0.001}, False),
        (CompletionBody, {"prompt": "a", "top_p": 0}, False),
        (CompletionBody, {"prompt": None}, False),
        (ChatBody, said(**USER), True),
        (ChatBody, said(role="user", content=[{"type": "text", "text": "Hi"}]), True),
        (ChatBody, said(role="assistant"), True),
        (ChatBody, said(role="assistant", content=None), True),
        (ChatBody, said(role="user"), False),
        (ChatBody, said(role="tool", content=None), False),
        (ChatBody, said(role="user", content=[{"type": "image"}]), False),
        (ChatBody, said(role="robot", content="Hi"), False),
        (ChatBody, {"messages": []}, False),
        (TokenizeBody, {"prompt": "a"}, True),
        (TokenizeBody, {"prompt": "", "messages": None}, True),
        (TokenizeBody, {"prompt": None, "messages": [USER]}, True),
        (TokenizeBody, {"messages": [USER]}, True),
        (TokenizeBody, {"messages": [USER], "prompt": "a"}, False),
        (TokenizeBody, {"messages": None, "prompt": None}, False),
        (TokenizeBody, {}, False),
    ],
)
def test_the_schema_tells_what_is_taken(
    body: type[BaseModel], fields: dict[str, Any], good: bool
) -> None:
    schema = jsonschema_rs.validator_for(body.model_json_schema())

    assert good == accepted(body, fields)
    assert good == schema.is_valid(fields)
