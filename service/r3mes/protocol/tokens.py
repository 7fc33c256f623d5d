"""Bodies and answers of /tokenize and /detokenize."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r3mes.protocol.chat import TemplatedBody
from r3mes.protocol.fields import Body, TokenIds
from r3mes.protocol.generation import UNSUPPORTED
from r3mes.protocol.problems import problem

# What would change the text of a chat.
SHOWN = ("chat_template", "documents", "functions", "mm_processor_kwargs", "reasoning", "tools")
TEXT: dict[str, Any] = {
    "required": ["prompt"],
    "properties": {"prompt": {"type": "string"}, "messages": {"type": "null"}},
}
CHAT: dict[str, Any] = {
    "required": ["messages"],
    "properties": {"messages": {"type": "array"}, "prompt": {"type": "null"}},
}


class TokenizeBody(TemplatedBody):
    """Either `prompt` or `messages`; a chat has the ids that it would be answered with."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [TEXT, CHAT]})
    unsupported: ClassVar = {name: UNSUPPORTED[name] for name in SHOWN}

    model: str | None = None
    prompt: str | None = None
    add_special_tokens: bool | None = Field(None, description="True by default for `prompt`.")
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def one_source(self) -> Self:
        if self.prompt is not None and self.messages is not None:
            raise problem("invalid_combination", "Not together with `prompt`.", at="messages")
        if self.prompt is None and self.messages is None:
            raise problem("missing_required_parameter", "Give this or `messages`.", at="prompt")
        return self


class DetokenizeBody(Body):
    model: str | None = None
    tokens: TokenIds


class Tokenized(BaseModel):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(BaseModel):
    prompt: str
