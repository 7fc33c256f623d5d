"""Turns what happened to a sequence into the Update its worker gets. Pure."""

from collections.abc import Collection
from collections.abc import Sequence as Seq

from r3mes.engine.messages import Finish, Logprob, Update
from r3mes.engine.sequence import Sequence
from r3mes.errors import R3mesError


def token_news(
    sequence: Sequence,
    count: int,
    logprobs: Seq[Logprob],
    *,
    finish: Finish | None,
    eos: Collection[int],
) -> Update:
    """The newest ids; the first one brings the prompt's logprobs along."""
    first = len(sequence.output) == count
    return Update(
        stream=sequence.key[1],
        ids=sequence.output[-count:],
        logprobs=list(logprobs[:count]) or None,
        prompt_logprobs=_prompt_logprobs(sequence) if first else None,
        finish=finish,
        stop_token=sequence.stop_token(eos) if finish == "stop" else None,
        stamps=sequence.stamps if first or finish else None,
    )


def prompt_news(sequence: Sequence) -> Update:
    """The end of a request that wanted no ids, only its prompt read."""
    return Update(
        stream=sequence.key[1],
        ids=[],
        prompt_logprobs=_prompt_logprobs(sequence),
        finish="length",
        stamps=sequence.stamps,
    )


def abort_news(sequence: Sequence) -> Update:
    return Update(stream=sequence.key[1], ids=[], finish="abort", stamps=sequence.stamps)


def error_news(sequence: Sequence, error: R3mesError) -> Update:
    return Update(
        stream=sequence.key[1],
        ids=[],
        finish="error",
        error=error.code,
        message=error.message,
        stamps=sequence.stamps,
    )


def _prompt_logprobs(sequence: Sequence) -> list[Logprob | None] | None:
    """Nothing comes before the first id, so it has no probability."""
    if sequence.params.prompt_logprobs is None:
        return None
    return [None, *sequence.prompt_logprobs]
