"""Bodies of answers, for the OpenAPI document and for tests; hot paths write the same by hand."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class PromptDetails(BaseModel):
    cached_tokens: int = Field(description="Prompt tokens found in the prefix cache.")


class CompletionDetails(BaseModel):
    reasoning_tokens: int


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class TokenProbability(BaseModel):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TokenProbability):
    top_logprobs: list[TokenProbability]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None


class AnswerMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish
    stop_reason: str | int | None = Field(description="The stop string or id that ended it.")
    token_ids: list[int] | None = None


class Answer(BaseModel):
    id: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: str | None = None
    usage: Usage


class ChatCompletion(Answer):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    prompt_token_ids: list[int] | None = None


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish
    stop_reason: str | int | None
    prompt_logprobs: list[dict[str, Any] | None] | None = None
    prompt_token_ids: list[int] | None = None
    token_ids: list[int] | None = None


class Completion(Answer):
    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "r3mes"
    root: str = Field(description="Where the model came from.")
    parent: str | None = None
    max_model_len: int
    permission: list[dict[str, Any]] = []


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Version(BaseModel):
    version: str


class Health(BaseModel):
    status: Literal["ok", "unavailable"]
    phase: str
    progress: float = Field(description="Of the phase, 0 to 1.")
    detail: str
    elapsed_s: float = Field(description="Since the start.")
    phase_seconds: dict[str, float]
    warm_ttft_s: float | None = Field(description="To the first token, when it was warmed.")
    slowest_step_s: float = Field(description="Longest step of the engine so far.")
    heartbeat_age_s: float = Field(description="Since the engine's last report.")


class Load(BaseModel):
    server_load: int = Field(description="Requests running or waiting in the engine.")
    running: int
    waiting: int
    capacity: int
    max_waiting: int
    blocks_free: int
    blocks_used: int
    blocks_cached: int
    phase: str
