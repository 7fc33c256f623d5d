"""Bodies and answers of /tokenize and /detokenize."""

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from r3mes.protocol.chat import ChatMessage
from r3mes.protocol.fields import Body, TokenIds
from r3mes.protocol.problems import problem


class TokenizeBody(Body):
    """Either `prompt` or `messages`."""

    unsupported: ClassVar = {"chat_template": (), "tools": ([],), "mm_processor_kwargs": ({},)}

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)] | None = None
    add_special_tokens: bool | None = Field(None, description="True by default for `prompt`.")
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

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
