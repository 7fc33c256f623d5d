"""Probabilities of tokens in the two shapes of the API: a list of objects, and parallel lists."""

from collections.abc import Iterable, Sequence
from typing import Any

from r3mes.engine.messages import Logprob
from r3mes.replica.choice import TokenInfo
from r3mes.replica.text.model import TextModel


def chat_logprobs(tokens: Iterable[TokenInfo], text: TextModel) -> dict[str, Any]:
    return {"content": [chat_entry(token, text) for token in tokens], "refusal": None}


def chat_entry(info: TokenInfo, text: TextModel) -> dict[str, Any]:
    found = info.logprob
    top = [] if found is None else [token_entry(*each, text) for each in found.top]
    entry = token_entry(info.token, 0.0 if found is None else found.logprob, text)
    return {**entry, "top_logprobs": top}


def token_entry(token: int, logprob: float, text: TextModel) -> dict[str, Any]:
    raw = text.codec.token_bytes(token)
    return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}


def completion_logprobs(
    tokens: Sequence[TokenInfo], text: TextModel, *, most: int
) -> dict[str, list[Any]]:
    """`most` alternatives stand beside each token."""
    return {
        "tokens": [text.token_text(info.token) for info in tokens],
        "token_logprobs": [info.logprob.logprob if info.logprob else None for info in tokens],
        "top_logprobs": [top_of(info, text, most) for info in tokens],
        "text_offset": [info.start for info in tokens],
    }


def top_of(info: TokenInfo, text: TextModel, most: int) -> dict[str, float] | None:
    """The alternatives and always the token itself; equal texts keep the likelier one."""
    if info.logprob is None:
        return None
    top = [*info.logprob.top[:most], (info.token, info.logprob.logprob)]
    best: dict[str, float] = {}
    for token, logprob in top:
        name = text.token_text(token)
        best[name] = max(logprob, best.get(name, logprob))
    return best


def prompt_logprobs(
    found: Sequence[Logprob | None] | None, text: TextModel
) -> list[dict[str, Any] | None] | None:
    """One entry a prompt token, by id; the first token has no probability."""
    if found is None:
        return None
    return [None if entry is None else by_id(entry, text) for entry in found]


def by_id(entry: Logprob, text: TextModel) -> dict[str, Any]:
    ranked = [(token, logprob, rank) for rank, (token, logprob) in enumerate(entry.top, start=1)]
    own = (entry.token, entry.logprob, entry.rank)
    return {
        str(token): {"logprob": logprob, "rank": rank, "decoded_token": text.token_text(token)}
        for token, logprob, rank in [*ranked, own]
    }
