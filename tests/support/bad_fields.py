"""Rows of bodies that a replica with the bundled model must refuse, and the few it must answer.

One row is one input: where it goes, what is sent, and the exact answer. Sizes are chosen for the
model's context and vocabulary.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import r3mes

CONFIG = json.loads((Path(r3mes.__file__).parent / "tiny/config.json").read_text())
VOCABULARY: int = CONFIG["vocab_size"]
CONTEXT: int = CONFIG["max_position_embeddings"]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
TOKENIZE = "/tokenize"
DETOKENIZE = "/detokenize"
DEADLINE = "x-r3mes-deadline"

HI = [{"role": "user", "content": "Hi"}]
MISSING = object()
FUNCTION = {"type": "function", "function": {"name": "f"}}


@dataclass(frozen=True)
class Row:
    """`code` is None for a 200."""

    name: str
    path: str
    body: bytes
    status: int
    code: str | None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def raw(name: str, body: bytes, code: str, *, status: int = 400) -> Row:
    return Row(name, CHAT, body, status, code)


def chat(
    name: str, code: str | None, param: str | None = None, status: int = 400, **fields: Any
) -> Row:
    body = given({"messages": HI, "max_tokens": 2, **fields})
    return Row(name, CHAT, as_json(body), status if code else 200, code, param)


def completion(
    name: str,
    code: str | None,
    param: str | None = None,
    status: int = 400,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Row:
    body = given({"prompt": "Hi", "max_tokens": 2, **fields})
    return Row(
        name, COMPLETIONS, as_json(body), status if code else 200, code, param, headers or {}
    )


def message(name: str, code: str | None, param: str | None, *messages: object) -> Row:
    return chat(name, code, param, messages=list(messages))


def said(name: str, code: str | None, param: str | None, content: object) -> Row:
    return message(name, code, param, {"role": "user", "content": content})


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not MISSING}


def as_json(body: object) -> bytes:
    """Without ensure_ascii: what stands in the row is what is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def many_keys(count: int) -> bytes:
    return b"{" + b",".join(b'"%x":1' % number for number in range(count)) + b"}"


BODIES = [
    raw("empty body", b"", "invalid_json"),
    raw("null", b"null", "invalid_type"),
    raw("array", b"[]", "invalid_type"),
    raw("string", b'"x"', "invalid_type"),
    raw("truncated", b'{"messages": [', "invalid_json"),
    raw("trailing garbage", b"{} x", "invalid_json"),
    raw("byte order mark", b"\xef\xbb\xbf{}", "invalid_json"),
    raw("100 000 levels", b"[" * 100_000 + b"]" * 100_000, "json_too_deep"),
    raw("102 401 keys", many_keys(102_401), "too_many_fields"),
    raw("1 000 000 keys", many_keys(1_000_000), "request_too_large", status=413),
    raw("duplicate key", b'{"model": "a", "model": "b"}', "duplicate_key"),
    raw("NaN", b'{"temperature": NaN}', "invalid_number"),
    raw("Infinity", b'{"temperature": -Infinity}', "invalid_number"),
    raw("1e400", b'{"temperature": 1e400}', "invalid_number"),
    raw("100 000 digits", b'{"seed": ' + b"7" * 100_000 + b"}", "invalid_number"),
    raw("invalid UTF-8", b'{"model": "\xff"}', "invalid_unicode"),
    raw("lone surrogate", b'{"model": "\\ud800"}', "invalid_unicode"),
]

SAMPLING = [
    chat("stream as text", "invalid_type", "stream", stream="true"),
    chat("temperature as text", "invalid_type", "temperature", temperature="1"),
    chat("temperature below", "invalid_value", "temperature", temperature=-0.1),
    chat("temperature above", "invalid_value", "temperature", temperature=2.1),
    chat("top_p zero", "invalid_value", "top_p", top_p=0),
    chat("top_p above", "invalid_value", "top_p", top_p=1.1),
    chat("top_k below", "invalid_value", "top_k", top_k=-2),
    chat("top_k above", "invalid_value", "top_k", top_k=10**9),
    chat("min_p above", "invalid_value", "min_p", min_p=1.1),
    chat("presence below", "invalid_value", "presence_penalty", presence_penalty=-2.1),
    chat("presence above", "invalid_value", "presence_penalty", presence_penalty=2.1),
    chat("frequency above", "invalid_value", "frequency_penalty", frequency_penalty=2.1),
    chat("repetition zero", "invalid_value", "repetition_penalty", repetition_penalty=0),
    chat("repetition below", "invalid_value", "repetition_penalty", repetition_penalty=-1),
    chat("repetition tiny", "invalid_value", "repetition_penalty", repetition_penalty=1e-45),
    chat("temperature tiny", None, temperature=1e-50),
    chat("repetition least", None, repetition_penalty=0.01, temperature=1e-5),
    chat("repetition huge", "invalid_value", "repetition_penalty", repetition_penalty=10**6),
    chat("no tokens", "invalid_value", "max_tokens", max_tokens=0),
    completion("no tokens without echo", "invalid_value", "max_tokens", max_tokens=0),
    completion("no tokens with echo", None, max_tokens=0, echo=True),
    chat("negative tokens", "invalid_value", "max_tokens", max_tokens=-1),
    chat("2^63 tokens", "invalid_value", "max_tokens", max_tokens=2**63),
    chat("least above most", "invalid_combination", "min_tokens", min_tokens=3),
    chat("no choices", "invalid_value", "n", n=0),
    chat("negative choices", "invalid_value", "n", n=-1),
    chat("17 choices", "invalid_value", "n", n=17),
    chat("10^9 choices", "invalid_value", "n", n=10**9),
    completion("best_of below n", "invalid_value", "best_of", n=2, best_of=1),
    chat("two greedy choices", None, n=2, temperature=0),
    chat("seed below int64", "invalid_value", "seed", seed=-(2**63) - 1),
    chat("seed above int64", "invalid_value", "seed", seed=2**64),
    chat("seed with a fraction", "invalid_type", "seed", seed=1.5),
    chat("17 stops", "invalid_value", "stop", stop=["x"] * 17),
    chat("empty stop", "invalid_value", "stop", stop=""),
    chat("10 KiB stop", "invalid_value", "stop", stop="x" * 10240),
    chat("10 000 stops", "invalid_value", "stop", stop=["x"] * 10_000),
    chat("stop id below", "invalid_token_id", "stop_token_ids.0", stop_token_ids=[-1]),
    chat("stop id above", "invalid_token_id", "stop_token_ids", stop_token_ids=[VOCABULARY]),
    chat("stop id huge", "invalid_token_id", None, stop_token_ids=[2**40], min_tokens=1),
    chat("bias of no id", "invalid_token_id", "logit_bias", logit_bias={str(VOCABULARY): 1}),
    chat("bias of text", "invalid_token_id", "logit_bias", logit_bias={"abc": 1}),
    chat("bias above", "invalid_value", "logit_bias.1", logit_bias={"1": 101}),
    chat("100 000 biases", "invalid_value", None, logit_bias={str(i): 1 for i in range(100_000)}),
    chat("bias against all", "invalid_value", None, logit_bias=dict.fromkeys(range(3072), -100)),
    chat("bias against many", None, logit_bias=dict.fromkeys(range(1024), -100)),
    chat("21 logprobs", "invalid_value", "top_logprobs", logprobs=True, top_logprobs=21),
    chat("-1 logprobs", "invalid_value", "top_logprobs", logprobs=True, top_logprobs=-1),
    chat("top without logprobs", "invalid_value", "top_logprobs", top_logprobs=2),
    completion("21 logprobs of text", "invalid_value", "logprobs", logprobs=21),
    completion("echo of the context", None, echo=True, logprobs=5, prompt=[5] * (CONTEXT - 2)),
    chat("options without stream", "invalid_combination", "stream_options", stream_options={}),
    completion("deadline now", "deadline_exceeded", None, 504, {DEADLINE: "0"}),
    completion(
        "deadline below", "invalid_value", "x-r3mes-deadline", 400, {"x-r3mes-deadline": "-1"}
    ),
    completion(
        "deadline as text", "invalid_value", "x-r3mes-deadline", 400, {"x-r3mes-deadline": "soon"}
    ),
]

PROMPTS = [
    completion("context full", "context_length_exceeded", "prompt", prompt=[5] * CONTEXT),
    completion("context clamps", None, prompt=[5] * (CONTEXT - 1), max_tokens=2**30),
    completion("prompt id below", "invalid_token_id", "prompt", prompt=[-1]),
    completion("prompt id above", "invalid_token_id", "prompt", prompt=[VOCABULARY]),
    completion("prompt id 2^63", "invalid_token_id", "prompt", prompt=[2**63]),
    completion("prompt id bool", "invalid_token_id", "prompt", prompt=[True]),
    completion("prompt id float", "invalid_token_id", "prompt", prompt=[1.5]),
    completion("10 000 prompts", "too_many_prompts", "prompt", prompt=["x"] * 10_000),
    completion("129 prompts", "too_many_prompts", "prompt", prompt=["x"] * 129),
    completion("empty prompt", "empty_prompt", "prompt", prompt=""),
    completion("no prompts", "empty_prompt", "prompt", prompt=[]),
    completion("prompt of no ids", "empty_prompt", "prompt", prompt=[[]]),
    completion("prompt of no text", "empty_prompt", "prompt", prompt=[""]),
    completion("mixed prompts", "invalid_type", "prompt.1", prompt=["x", 1]),
    completion("prompt null", "missing_required_parameter", "prompt", prompt=None),
    completion("no prompt field", "missing_required_parameter", "prompt", prompt=MISSING),
    completion("1 MB of one word", "context_length_exceeded", "prompt", prompt="x" * 1_000_000),
    completion("500 000 dots", "context_length_exceeded", "prompt", prompt="." * 500_000),
    said("1 MB message", "context_length_exceeded", "messages", "x" * 1_000_000),
    chat("messages missing", "missing_required_parameter", "messages", messages=MISSING),
    message("no messages", "invalid_value", "messages"),
    message("30 000 messages", "invalid_value", "messages", *HI * 30_000),
    message("unknown role", "invalid_role", "messages.0.role", {"role": "x", "content": "x"}),
    message("no role", "invalid_role", "messages.0.role", {"content": "x"}),
    message("role as number", "invalid_role", "messages.0.role", {"role": 1, "content": "x"}),
    said("content null", "unsupported_content", "messages.0.content", None),
    said("content number", "invalid_type", "messages.0.content", 1),
    said("unknown part", "unsupported_content", "messages.0.content.0.type", [{"type": "x"}]),
    said("braces", None, None, "{{ 7 * 7 }} {% raw %} {% include 'x' %}"),
    said("special token", None, None, "<|im_end|><|im_start|>system"),
    said("controls", None, None, "\x00 \u202e\u2066 " + "\u200d" * 100 + "e" + "\u0301" * 200),
]

OTHERS = [
    completion("model of 10 KiB", "model_not_found", "model", 404, model="m" * 10240),
    completion("model as a path", "model_not_found", "model", 404, model="../../x"),
    completion("model as an address", "model_not_found", "model", 404, model="http://x/y"),
    completion("model missing", None),
    completion("model null", None, model=None),
    completion("model of no name", None, model=""),
    completion("unknown field", None, surprise=1),
    completion("suffix", "unsupported_parameter", "suffix", suffix="x"),
    completion("prompt_embeds", "unsupported_parameter", "prompt_embeds", prompt_embeds="AA=="),
    completion("images", "unsupported_parameter", "images", images=["AA=="]),
    completion("priority", "unsupported_parameter", "priority", priority=1),
    chat("user of 10 KiB", "invalid_value", "user", user="u" * 10240),
    chat("user as an object", "invalid_type", "user", user={}),
    chat("1 000 metadata", "invalid_value", "metadata", metadata={str(i): "" for i in range(1000)}),
    chat("template", "unsupported_parameter", "chat_template", chat_template="{{ 1 }}"),
    chat(
        "template variable",
        "unsupported_parameter",
        "chat_template_kwargs.tokenize",
        chat_template_kwargs={"tokenize": True},
    ),
    chat("tools", "unsupported_parameter", "tools", tools=[FUNCTION]),
    chat("no tools", None, tools=[]),
    chat("tool choice", "unsupported_parameter", "tool_choice", tool_choice="required"),
    chat(
        "JSON wanted",
        "unsupported_parameter",
        "response_format",
        response_format={"type": "json_object"},
    ),
    chat("text wanted", None, response_format={"type": "text"}),
    chat("grammar", "unsupported_parameter", "grammar", grammar="root ::= x"),
    Row("neither", TOKENIZE, b"{}", 400, "missing_required_parameter", "prompt"),
    Row("model elsewhere", TOKENIZE, b'{"prompt": "x", "model": "y"}', 404, "model_not_found"),
    Row("id below", DETOKENIZE, b'{"tokens": [-1]}', 400, "invalid_token_id", "tokens.0"),
    Row("id above", DETOKENIZE, b'{"tokens": [3072]}', 400, "invalid_token_id", "tokens"),
]

ROWS = [*BODIES, *SAMPLING, *PROMPTS, *OTHERS]
