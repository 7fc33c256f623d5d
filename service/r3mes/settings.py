"""The one frozen Settings: every knob, its default, its bounds and its documented meaning.

Built once by the composition root from defaults, `R3MES_…` variables and command line flags, then
handed on section by section. Knows nothing of who uses it.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from r3mes.errors import StartError
from r3mes.service_links import is_service_link, looks_like_one
from r3mes.wording import plain

PREFIX = "R3MES_"
NESTING = "__"


def refuse_empty(value: Any) -> Any:
    """A variable that is set to nothing is a slip, and taken as a value it would mean something."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("empty", "This is empty; leave it out to get the default.")
    return value


def check_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise PydanticCustomError("address", "This is no address like http://host:4318.")
    return address


# The pattern is for readers of the schema, who refuse it before a start does.
Address = Annotated[
    str,
    AfterValidator(check_address),
    WithJsonSchema({"type": "string", "pattern": "^https?://.+"}),
]


def number_of_digits(value: Any) -> Any:
    """A variable is text, and a choice between numbers takes none of it by itself."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


class Section(BaseModel):
    """A group of settings that one part needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    _not_empty = field_validator("*", mode="before")(refuse_empty)


class ModelSettings(Section):
    source: str = Field(
        "bundled",
        min_length=1,
        description="Folder or hub id of the checkpoint; `bundled` is the model in the package.",
    )
    revision: str | None = Field(None, description="Hub revision: a branch, tag or commit.")
    name: str | None = Field(
        None, description="Name the API serves it under; by default made from the source."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes CUDA where a device is present."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="`auto` is float32 on a CPU and the checkpoint's own on CUDA."
    )
    weights: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="How matrices are kept for float32 arithmetic on a CPU: `auto` takes 16 bits "
        "where that is exact, as for a bfloat16 checkpoint; `int8` is faster and not exact.",
    )
    max_len: int | None = Field(
        None, ge=16, description="Longest prompt plus answer, in tokens; by default the model's."
    )
    chat_template: Path | None = Field(
        None, description="Jinja file that replaces the checkpoint's chat template."
    )


class EngineSettings(Section):
    runner: Literal["auto", "portable", "fake"] = Field(
        "auto",
        description="What computes tokens: `auto` takes the C++ operators, or kernels on a GPU, "
        "where they fit, `portable` torch alone; `fake` needs no torch and answers made-up text.",
    )
    max_batch: int = Field(64, ge=1, le=1024, description="Most sequences in one forward pass.")
    max_waiting: int = Field(512, ge=1, description="Most requests in the line before a 503.")
    chunk_tokens: int = Field(
        512,
        ge=16,
        description="Most prompt tokens of one step. Beside running streams there are fewer: as "
        "many as make the step 2.5 times as long, and more the more prompts wait, up to 5.",
    )
    block_size: int = Field(16, ge=1, le=256, description="Tokens in one block of the KV cache.")
    kv_blocks: int | None = Field(
        None, ge=2, description="Size of the KV cache in blocks; by default from free memory."
    )
    kv_memory_fraction: float = Field(
        0.5, gt=0, le=0.95, description="Share of the memory still free that the KV cache may take."
    )
    kv_memory_limit_mb: int = Field(
        4096,
        ge=1,
        description="Upper bound of the KV cache on a CPU, in MiB. A quarter of the cache is taken "
        "from the system at the start, the rest as it is needed.",
    )
    kv_dtype: Literal["auto", "float16"] = Field(
        "auto",
        description="How keys and values are kept on a CPU: `float16` takes half the memory and "
        "is not exact.",
    )
    prefix_cache: bool = Field(True, description="Reuse KV blocks of equal prompt prefixes.")
    prompt_lookup: bool = Field(
        True,
        description="Draft tokens from what stood before in prompt and answer, where checking them "
        "is cheaper than steps of their own; none on a GPU, where the next step is launched before "
        "the last tokens are known. Answers stay what they are.",
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of the forward pass; by default the cores of the process."
    )
    fake_step_ms: float = Field(
        0.0, ge=0, description="Time one step of the fake runner takes, in milliseconds."
    )


class ServerSettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="API worker processes.")
    max_body_bytes: int = Field(1 << 20, ge=1024, description="Largest request body.")
    max_header_bytes: int = Field(32 << 10, ge=1024, description="Largest block of headers.")
    max_headers: int = Field(128, ge=8, description="Most headers in one request.")
    header_timeout_s: float = Field(10, gt=0, description="Time to receive all headers.")
    body_timeout_s: float = Field(30, gt=0, description="Time to receive the whole body.")
    keep_alive_s: float = Field(
        620,
        gt=0,
        description="Idle time before a connection is closed; longer than that of a load balancer "
        "in front, whose next request would meet the end of the connection.",
    )
    write_timeout_s: float = Field(
        60, gt=0, description="Time a client may stop reading before its stream is cut."
    )
    strict_fields: bool = Field(False, description="Refuse unknown request fields with 400.")


class LimitSettings(Section):
    max_choices: int = Field(16, ge=1, le=128, description="Largest `n` of a request.")
    max_prompts: int = Field(128, ge=1, description="Most prompts in one completions request.")
    max_request_tokens: int = Field(
        1 << 20, ge=1, description="Budget of one request: prompts x n x max tokens."
    )
    max_logprobs: int = Field(20, ge=0, le=100, description="Most alternatives per token.")
    max_messages: int = Field(4096, ge=1, description="Most messages in one chat.")
    overload_status: Annotated[Literal[503, 429], BeforeValidator(number_of_digits)] = Field(
        503, description="HTTP status of a request that finds no place: `server_overloaded`."
    )
    request_timeout_s: float = Field(
        600, gt=0, description="Deadline of a request that names none."
    )


class DrainSettings(Section):
    linger_s: float = Field(
        10, ge=0, description="After SIGTERM, time in which new requests are still served."
    )
    timeout_s: float = Field(90, ge=0, description="After SIGTERM, time running streams have.")


class ProbeSettings(Section):
    ready_heartbeat_s: float = Field(
        5,
        gt=0,
        description="Age of the engine's heartbeat that ends readiness, "
        "or 3 times the slowest step so far where that is longer.",
    )
    live_heartbeat_s: float = Field(
        120,
        gt=0,
        description="Age of the engine's heartbeat that fails liveness, "
        "or 3 times the slowest step so far where that is longer.",
    )


class TelemetrySettings(Section):
    otlp_endpoint: Address | None = Field(
        None, description="OTLP/HTTP base address of a collector; tracing is off without one."
    )
    sample_ratio: float = Field(0.1, ge=0, le=1, description="Share of requests that are traced.")
    trust_parent: bool = Field(
        False, description="Follow the sampling flag of an incoming `traceparent`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Form of a log line; `auto` is text on a terminal and JSON elsewhere."
    )


class Settings(BaseSettings):
    """All settings. A variable is `R3MES_` + section + `__` + field, in capitals."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        validate_default=True,
    )

    _not_empty = field_validator("*", mode="before")(refuse_empty)

    api_keys: SecretStr | None = Field(
        None,
        description="Keys, parted by commas; plain, or `sha256:` and the hex hash. With any set, "
        "`/v1`, `/tokenize`, `/detokenize` and `/load` ask for one.",
    )
    api_keys_file: Path | None = Field(None, description="File with one such key a line.")
    termination_log: Path | None = Field(
        None,
        description="File that gets the reason when the start or the replica fails; "
        "in a pod `/dev/termination-log`.",
    )
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    drain: DrainSettings = DrainSettings()
    probes: ProbeSettings = ProbeSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


def variables() -> Iterator[tuple[str, Any]]:
    """Every variable name with its field, in documented order."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield f"{PREFIX}{name}{NESTING}{inner}".upper(), inner_field
        else:
            yield f"{PREFIX}{name}".upper(), field


def load(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Build the Settings; `overrides` maps dotted names (`server.port`) to values.

    Raises StartError for an unknown `R3MES_…` variable or a value out of bounds.
    """
    refuse_unknown(os.environ)
    nested: dict[str, Any] = {}
    for dotted, value in (overrides or {}).items():
        section, _, field = dotted.partition(".")
        if field:
            nested.setdefault(section, {})[field] = value
        else:
            nested[section] = value
    try:
        return Settings(**nested)
    except ValidationError as error:
        raise StartError(describe(error)) from error


def termination_log(environ: Mapping[str, str]) -> Path | None:
    """That setting alone, for when the settings as a whole are refused."""
    wanted = f"{PREFIX}TERMINATION_LOG"
    given = (text for name, text in environ.items() if name.upper() == wanted and text.strip())
    return next(map(Path, given), None)


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Raise StartError when a `R3MES_…` variable is not a setting, and name the nearest one."""
    known = [name for name, _ in variables()]
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX) or name.upper() in known:
            continue
        if is_service_link(name, environ):
            continue  # of a Service that happens to have our name; nobody meant to set anything
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
        hint = f"{name} is not a setting of R3MES. Did you mean {near}?"
        if looks_like_one(name, environ[name]):
            hint += " If Kubernetes made it of a Service, set enableServiceLinks: false in the pod."
        raise StartError(hint)


def describe(error: ValidationError) -> str:
    """One line for people out of pydantic's report; never shows a value that could be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = NESTING.join(str(part) for part in first["loc"]).upper()
    return f"{PREFIX}{where}: {plain(first)}"
