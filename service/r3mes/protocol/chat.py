"""The body of a chat completions request."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from r3mes.errors import InvalidRequest
from r3mes.protocol.fields import Body, Count, one_of
from r3mes.protocol.generation import UNSUPPORTED, GenerationBody
from r3mes.protocol.problems import problem
from r3mes.settings import LimitSettings

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
RESERVED_KWARGS = frozenset(
    {
        "add_generation_prompt",
        "bos_token",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "eos_token",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
MOST_KWARGS = 32
MOST_NAME_CHARS = 256


def role(value: Any) -> str:
    if not isinstance(value, str) or value not in ROLES:
        raise problem("invalid_role", f"A role is one of {', '.join(ROLES)}.")
    return value


def content_text(value: Any) -> Any:
    """A list of text parts as one string; other kinds of parts are refused, nothing is fetched."""
    if not isinstance(value, list):
        return value
    return "\n".join(part_text(index, part) for index, part in enumerate(value))


def part_text(index: int, part: Any) -> str:
    if not isinstance(part, dict):
        raise problem("invalid_type", "A part is an object.", at=str(index))
    if part.get("type") != "text":
        raise problem("unsupported_content", "Only text parts are supported.", at=f"{index}.type")
    if "text" not in part:
        raise problem("missing_required_parameter", "The text is missing.", at=f"{index}.text")
    text = part["text"]
    if not isinstance(text, str):
        raise problem("invalid_type", "Text is a string.", at=f"{index}.text")
    return text


def template_kwargs(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for name in value:
        if name in RESERVED_KWARGS or not name.isidentifier() or name.startswith("_"):
            raise problem(
                "unsupported_parameter", "The template may not be given this.", at=name[:64]
            )
    return value


Name = Annotated[str, Field(max_length=MOST_NAME_CHARS)]
Role = Annotated[str, BeforeValidator(role), WithJsonSchema({"type": "string", "enum": [*ROLES]})]
PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "text"],
        "properties": {
            "type": {"type": "string", "const": "text"},
            "text": {"type": "string"},
        },
    },
}
TEXT = {"anyOf": [{"type": "string"}, PARTS]}
Content = Annotated[str, BeforeValidator(content_text), WithJsonSchema({**TEXT})]
SPEAKS: dict[str, Any] = {"required": ["content"], "properties": {"content": TEXT}}
ASSISTS: dict[str, Any] = {"properties": {"role": {"const": "assistant"}}}


class Part(BaseModel):
    """Base of what a message is made of: strict, and indifferent to fields it does not know."""

    model_config = ConfigDict(strict=True, extra="ignore")


class FunctionCall(Part):
    """`arguments` is JSON in a string; what is no JSON reaches the template in a safe wrapper."""

    name: Name
    arguments: str | None = None


class ToolCall(Part):
    id: Name | None = None
    type: str | None = None
    function: FunctionCall


class ChatMessage(Part):
    """Only the assistant's may be without content."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [SPEAKS, ASSISTS]})

    role: Role
    content: Content | None = None
    name: Name | None = None
    tool_call_id: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128, fail_fast=True)] | None = None
    function_call: FunctionCall | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @model_validator(mode="after")
    def has_content(self) -> Self:
        if self.content is not None or self.role == "assistant":
            return self
        if "content" in self.model_fields_set:
            raise problem("unsupported_content", "Content may not be null here.", at="content")
        raise problem("missing_required_parameter", "The content is missing.", at="content")


Messages = Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]


class TemplatedBody(Body):
    """What the chat template is given, wherever a chat can be sent."""

    messages: Messages | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    reasoning_effort: Annotated[str, one_of(*EFFORTS)] | None = None
    chat_template_kwargs: (
        Annotated[dict[str, Any], BeforeValidator(template_kwargs), Field(max_length=MOST_KWARGS)]
        | None
    ) = None

    @model_validator(mode="after")
    def agree_on_template(self) -> Self:
        if not self.continue_final_message or self.messages is None:
            return self
        if self.add_generation_prompt:
            message = "Not together with `add_generation_prompt`."
            raise problem("invalid_combination", message, at="continue_final_message")
        if self.messages[-1].role != "assistant":
            message = "The last message is not the assistant's."
            raise problem("invalid_combination", message, at="continue_final_message")
        return self

    def prompted(self) -> bool:
        """Whether the template opens the assistant's turn."""
        if self.add_generation_prompt is None:
            return not self.continue_final_message
        return self.add_generation_prompt

    def template_variables(self) -> dict[str, Any]:
        variables = dict(self.chat_template_kwargs or {})
        if self.reasoning_effort is not None:
            variables.setdefault("reasoning_effort", self.reasoning_effort)
            variables.setdefault("enable_thinking", self.reasoning_effort != "none")
        return variables


class ChatBody(TemplatedBody, GenerationBody):
    unsupported: ClassVar = {
        **UNSUPPORTED,
        "best_of": (1,),
        "echo": (False,),
        "prompt_logprobs": (),
    }

    messages: Messages
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = Field(None, description="Older name of `max_completion_tokens`.")
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def agree_on_chat(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise problem("invalid_value", "Only with `logprobs`.", at="top_logprobs")
        return self

    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def check(self, limits: LimitSettings) -> None:
        super().check(limits)
        if len(self.messages) > limits.max_messages:
            raise InvalidRequest(f"At most {limits.max_messages} messages.", param="messages")
        if (self.top_logprobs or 0) > limits.max_logprobs:
            message = f"`top_logprobs` is at most {limits.max_logprobs}."
            raise InvalidRequest(message, param="top_logprobs")
