"""What chat and completions requests have in common: sampling, streaming, and what is refused."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from r3mes.errors import InvalidRequest
from r3mes.protocol.fields import (
    Body,
    Count,
    LogitBias,
    Metadata,
    MinP,
    Penalty,
    RepetitionPenalty,
    Seed,
    Stops,
    Temperature,
    TokenIds,
    TopK,
    TopP,
    UserId,
    one_of,
)
from r3mes.protocol.problems import problem
from r3mes.settings import LimitSettings


def kept(value: Any) -> Any:
    if value == 0 and type(value) is int:
        raise problem("invalid_value", "Use -1, or 1 and more.")
    return value


Kept = Annotated[
    int,
    BeforeValidator(kept),
    Field(ge=-1, lt=1 << 31),
    WithJsonSchema(
        {"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1, "maximum": (1 << 31) - 1}]}
    ),
]
TruncationSide = Annotated[str, one_of("left", "right"), Field(examples=["left", "right"])]

UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "response_format": ({"type": "text"},),
    "structured_outputs": ({},),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_decoding_backend": (),
    "guided_whitespace_pattern": (),
    "json_schema": (),
    "regex": (),
    "ebnf": (),
    "grammar": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "suffix": ("",),
    "prompt_embeds": ([],),
    "images": ([],),
    "audio": (),
    "modalities": (["text"], []),
    "web_search_options": (),
    "moderation": (),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "typical_p": (1,),
    "tfs_z": (1,),
    "mirostat": (0,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "no_repeat_ngram_size": (0,),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "logprob_token_ids": ([],),
    "return_tokens_as_token_ids": (False,),
    "include_reasoning": (True,),
    "separate_reasoning": (True,),
    "thinking_token_budget": (),
    "priority": (0,),
    "chat_template": (),
    "documents": ([],),
    "mm_processor_kwargs": ({},),
    "lora_path": (),
    "kv_transfer_params": ({},),
    "logits_processors": ([],),
    "cache_salt": ("",),
    "max_new_tokens": (),
    "n_predict": (),
    "n_probs": (0,),
    "reasoning": (),
    "repeat_penalty": (1,),
    "samplers": ([],),
    "spaces_between_special_tokens": (True,),
    "thinking": (),
    "vllm_xargs": ({},),
}
IGNORED = frozenset(
    {
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "request_id",
        "rid",
        "session_id",
        "store",
        "verbosity",
    }
)


class StreamOptions(Body):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class GenerationBody(Body):
    """Bounds that settings can move are checked by `check`, after the model's shape is known."""

    unsupported: ClassVar[Mapping[str, tuple[Any, ...]]] = UNSUPPORTED
    ignored: ClassVar[frozenset[str]] = IGNORED

    model: str | None = Field(None, description="Served name; the one model by default.")
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = Field(None, description="0 and -1 turn it off.")
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    stop_token_ids: Annotated[TokenIds, Field(max_length=64)] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    n: Count | None = Field(None, description="Choices; bounded by `limits.max_choices`.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    add_special_tokens: bool | None = None
    skip_special_tokens: bool | None = None
    truncate_prompt_tokens: Kept | None = Field(
        None, description="Keep so many prompt tokens; -1 keeps what fits."
    )
    truncation_side: TruncationSide | None = None
    return_token_ids: bool | None = None
    user: UserId | None = None
    safety_identifier: UserId | None = None
    metadata: Metadata | None = None
    service_tier: UserId | None = None

    @model_validator(mode="after")
    def agree(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise problem("invalid_combination", "Only with `stream`.", at="stream_options")
        limit = self.token_limit()
        if limit is not None and (self.min_tokens or 0) > limit:
            raise problem("invalid_combination", "More than the most tokens.", at="min_tokens")
        return self

    @abstractmethod
    def token_limit(self) -> int | None:
        """Most tokens that the client wants in one choice."""

    def asked_limit(self) -> int | None:
        """The same, where it is no default of ours."""
        return self.token_limit()

    @abstractmethod
    def alternatives(self) -> int | None:
        """Alternatives wanted beside each token; None without logprobs."""

    def check(self, limits: LimitSettings) -> None:
        """What depends on settings."""
        if (self.n or 1) > limits.max_choices:
            raise InvalidRequest(f"`n` is at most {limits.max_choices}.", param="n")
