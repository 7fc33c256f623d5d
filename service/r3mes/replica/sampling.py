"""From the fields of a request to what the engine is asked to do. Pure, but for the dice of a seed.

Checks what only the served model can tell: its context, its vocabulary, its own defaults.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from r3mes.bounds import GREEDY_BELOW
from r3mes.engine.messages import ModelInfo, SamplingParams
from r3mes.errors import InvalidRequest
from r3mes.protocol.generation import GenerationBody
from r3mes.replica.choice import Reading
from r3mes.replica.engine_client import Job
from r3mes.replica.text.model import too_long
from r3mes.settings import EngineSettings, LimitSettings

SEED_BITS = 63


@dataclass(frozen=True, slots=True)
class Door:
    """What requests are measured against; `field` is where the prompt stands in the body."""

    info: ModelInfo
    limits: LimitSettings
    engine: EngineSettings
    field: str


def jobs_of(
    body: GenerationBody,
    prompts: Sequence[list[int]],
    *,
    door: Door,
    prompt_logprobs: int | None = None,
) -> list[Job]:
    """One job a choice, prompt-major: choice k of prompt i is number i * n + k."""
    check_ids(body, door.info)
    n = body.n or 1
    check_room(n, len(prompts), engine=door.engine)
    seed = secrets.randbits(SEED_BITS) if body.seed is None else body.seed
    jobs = []
    for prompt in prompts:
        limit = token_limit(body, len(prompt), door=door, choices=n * len(prompts))
        params = params_of(body, door.info, max_tokens=limit, prompt_logprobs=prompt_logprobs)
        jobs += [
            Job(prompt, msgspec.structs.replace(params, seed=derived(seed, k))) for k in range(n)
        ]
    return jobs


def check_room(n: int, prompts: int, *, engine: EngineSettings) -> None:
    """A request is taken as a whole; one that an idle engine has no room for never would be."""
    most = engine.max_waiting + engine.max_batch
    if n * prompts <= most:
        return
    message = f"Prompts x n is at most {most}."
    if prompts > 1:
        raise InvalidRequest(message, param="prompt", code="too_many_prompts")
    raise InvalidRequest(message, param="n")


def check_ids(body: GenerationBody, info: ModelInfo) -> None:
    in_vocabulary(body.stop_token_ids or (), info, param="stop_token_ids")
    in_vocabulary(body.logit_bias or (), info, param="logit_bias")


def in_vocabulary(ids: Iterable[int], info: ModelInfo, *, param: str) -> None:
    if max(ids, default=0) >= info.vocab_size:
        message = f"Token ids of this model are 0 to {info.vocab_size - 1}."
        raise InvalidRequest(message, param=param, code="invalid_token_id")


def token_limit(body: GenerationBody, length: int, *, door: Door, choices: int) -> int:
    """Most tokens of one choice: what the client wants, within the context and the budget."""
    wanted = body.token_limit()
    room = door.info.max_len - length
    if room < (0 if wanted == 0 else 1):
        raise too_long(door.info.max_len, str(length), of=door.field)
    share = door.limits.max_request_tokens // choices
    if wanted is None:
        return max(1, min(room, share))
    limit = min(room, wanted)
    if limit > share:
        raise InvalidRequest(
            f"Prompts x n x max tokens is at most {door.limits.max_request_tokens}.",
            param="max_tokens",
        )
    return limit


def params_of(
    body: GenerationBody, info: ModelInfo, *, max_tokens: int, prompt_logprobs: int | None
) -> SamplingParams:
    """The client's values, else those of the model's generation config, else neutral ones."""
    defaults = info.defaults

    def value(name: str, neutral: float) -> float:
        given: float | None = getattr(body, name)
        return defaults.get(name, neutral) if given is None else given

    temperature = value("temperature", 1.0)
    return SamplingParams(
        temperature=temperature if temperature >= GREEDY_BELOW else 0.0,
        top_p=value("top_p", 1.0),
        top_k=max(0, int(value("top_k", 0))),
        min_p=value("min_p", 0.0),
        repetition_penalty=value("repetition_penalty", 1.0),
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=body.logit_bias or {},
        max_tokens=max_tokens,
        min_tokens=min(body.min_tokens or 0, max_tokens),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        logprobs=body.alternatives(),
        prompt_logprobs=prompt_logprobs,
    )


def derived(seed: int, choice: int) -> int:
    """The first choice has the seed itself, so that n = 1 and n = 4 begin with the same answer."""
    if choice == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{choice}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def reading_of(body: GenerationBody) -> Reading:
    return Reading(
        stops=tuple(body.stop or ()),
        include_stop=bool(body.include_stop_str_in_output),
        stop_ids=frozenset(body.stop_token_ids or ()),
        skip_special=body.skip_special_tokens is not False,
        min_tokens=body.min_tokens or 0,
    )


def cut_prompt(ids: list[int], body: GenerationBody, info: ModelInfo) -> list[int]:
    """`truncate_prompt_tokens`: -1 leaves room for what is to be generated."""
    keep = body.truncate_prompt_tokens
    if keep is None:
        return ids
    if keep == -1:
        keep = max(1, info.max_len - min(body.token_limit() or 1, info.max_len - 1))
    if len(ids) <= keep:
        return ids
    return ids[:keep] if body.truncation_side == "right" else ids[-keep:]


def traced(params: SamplingParams, body: GenerationBody) -> dict[str, Any]:
    """What telemetry tells of a request; no text."""
    return {
        "max_tokens": body.asked_limit(),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "frequency_penalty": params.frequency_penalty,
        "presence_penalty": params.presence_penalty,
        "seed": body.seed,
        "n": body.n or 1,
    }
