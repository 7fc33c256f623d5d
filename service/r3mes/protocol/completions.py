"""The body of a completions request. Its prompt has four forms; here it becomes one."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from r3mes.errors import InvalidRequest
from r3mes.protocol.fields import token_id
from r3mes.protocol.generation import UNSUPPORTED, GenerationBody
from r3mes.protocol.problems import problem
from r3mes.settings import LimitSettings

DEFAULT_MAX_TOKENS = 16

Prompt = str | list[int]


def prompt_list(value: Any) -> list[Prompt]:
    """A string, strings, ids or lists of ids, as a list of prompts."""
    if isinstance(value, str):
        return [not_empty(value)]
    if value is None:
        raise problem("missing_required_parameter", "The prompt is missing.")
    if not isinstance(value, list):
        raise problem("invalid_type", "A prompt is a string, token ids, or a list of either.")
    if not value:
        raise problem("empty_prompt", "The prompt is empty.")
    if isinstance(value[0], str):
        return [prompt_text(index, item) for index, item in enumerate(value)]
    if isinstance(value[0], list):
        return [prompt_ids(index, item) for index, item in enumerate(value)]
    return [[token_id(item) for item in value]]


def prompt_text(index: int, item: Any) -> Prompt:
    if not isinstance(item, str):
        raise problem("invalid_type", "All prompts must be of one kind.", at=str(index))
    return not_empty(item)


def prompt_ids(index: int, item: Any) -> Prompt:
    if not isinstance(item, list):
        raise problem("invalid_type", "All prompts must be of one kind.", at=str(index))
    return not_empty([token_id(entry) for entry in item])


def not_empty(prompt: Prompt) -> Prompt:
    if not prompt:
        raise problem("empty_prompt", "The prompt is empty.")
    return prompt


IDS_SCHEMA = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
TEXT_SCHEMA = {"type": "string", "minLength": 1}
Prompts = Annotated[
    list[Any],
    BeforeValidator(prompt_list),
    WithJsonSchema(
        {
            "anyOf": [
                TEXT_SCHEMA,
                {"type": "array", "minItems": 1, "items": TEXT_SCHEMA},
                IDS_SCHEMA,
                {"type": "array", "minItems": 1, "items": IDS_SCHEMA},
            ]
        }
    ),
]


class CompletionBody(GenerationBody):
    unsupported: ClassVar = UNSUPPORTED

    prompt: Prompts
    max_tokens: Annotated[int, Field(ge=0, lt=1 << 31)] | None = Field(
        None, description="16 by default; 0 only with `echo`."
    )
    best_of: Annotated[int, Field(ge=1, lt=1 << 31)] | None = Field(None, description="Equal to n.")
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0)] | None = None
    prompt_logprobs: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def agree_on_completion(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            raise problem("invalid_value", "Use 1 or more; 0 only with `echo`.", at="max_tokens")
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise problem("invalid_value", "Less than `n`.", at="best_of")
        if self.best_of is not None and self.best_of > (self.n or 1):
            raise problem("unsupported_parameter", "Only a value equal to `n`.", at="best_of")
        if self.prompt_logprobs is not None and self.stream:
            raise problem("invalid_combination", "Not with `stream`.", at="prompt_logprobs")
        return self

    def token_limit(self) -> int | None:
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    def asked_limit(self) -> int | None:
        return self.max_tokens

    def alternatives(self) -> int | None:
        return self.logprobs

    def prompt_alternatives(self) -> int | None:
        """Alternatives wanted beside each prompt token; None without prompt logprobs."""
        wanted = [count for count in (self.prompt_logprobs, self.echoed()) if count is not None]
        return max(wanted, default=None)

    def echoed(self) -> int | None:
        return self.logprobs if self.echo else None

    def check(self, limits: LimitSettings) -> None:
        super().check(limits)
        if len(self.prompt) > limits.max_prompts:
            message = f"At most {limits.max_prompts} prompts in one request."
            raise InvalidRequest(message, param="prompt", code="too_many_prompts")
        for name, wanted in (
            ("logprobs", self.logprobs),
            ("prompt_logprobs", self.prompt_logprobs),
        ):
            if (wanted or 0) > limits.max_logprobs:
                message = f"`{name}` is at most {limits.max_logprobs}."
                raise InvalidRequest(message, param=name)
