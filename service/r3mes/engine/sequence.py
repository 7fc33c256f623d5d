"""One choice being generated: its ids, its place in the KV cache and its times.

Knows how it becomes a row of a batch and when it ends; decides nothing about who runs.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from r3mes.engine.block_pool import digest
from r3mes.engine.lookup import Lookup
from r3mes.engine.messages import Finish, Logprob, SamplingParams, Stamps
from r3mes.engine.runner import Row, Sample

Key = tuple[str, int]  # worker and its stream


@dataclass(slots=True, eq=False)
class Sequence:
    key: Key
    request_id: str
    prompt: list[int]
    params: SamplingParams
    deadline: float  # math.inf when there is none
    queued: float
    output: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    computed: int = 0  # positions whose keys and values are in `blocks`
    state: Literal["waiting", "running", "finished"] = "waiting"
    chain: list[bytes] = field(default_factory=list)  # names of the full blocks, as far as asked
    drafts: list[int] = field(default_factory=list)  # that the running step feeds beside the ids
    lookup: Lookup = field(default_factory=Lookup)
    prompt_logprobs: list[Logprob] = field(default_factory=list)
    scheduled: float | None = None
    first_token: float | None = None
    finished: float | None = None
    cached_tokens: int = 0
    preemptions: int = 0

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.output)

    @property
    def missing(self) -> int:
        """Positions to compute before the next token can be chosen."""
        return self.length - self.computed

    @property
    def decoding(self) -> bool:
        return bool(self.output) and self.missing == 1

    @property
    def wants_prompt_logprobs(self) -> bool:
        """True until those of the whole prompt are here; nothing may be skipped while it is."""
        return (
            self.params.prompt_logprobs is not None
            and len(self.prompt_logprobs) < len(self.prompt) - 1
        )

    @property
    def stamps(self) -> Stamps:
        return Stamps(
            queued=self.queued,
            scheduled=self.scheduled,
            first_token=self.first_token,
            finished=self.finished,
            cached_tokens=self.cached_tokens,
            preemptions=self.preemptions,
        )

    def ids(self, start: int, stop: int) -> list[int]:
        """A slice of prompt + output, without joining the two."""
        split = len(self.prompt)
        if start >= split:
            return self.output[start - split : stop - split]
        return self.prompt[start:stop] + self.output[: max(0, stop - split)]

    def names(self, count: int, *, block_size: int) -> list[bytes]:
        """Chained digests of the first `count` blocks, all of them full."""
        for index in range(len(self.chain), count):
            parent = self.chain[-1] if self.chain else b""
            tokens = self.ids(index * block_size, (index + 1) * block_size)
            self.chain.append(digest(parent, tokens))
        return self.chain[:count]

    def row(self, count: int) -> Row:
        """Feed the next `count` ids, drafts included; wish for a token after the last known one."""
        start, stop = self.computed, self.computed + count - len(self.drafts)
        wanted = self.params.prompt_logprobs if self.wants_prompt_logprobs else None
        return Row(
            tokens=self.ids(start, stop) + self.drafts,
            start=start,
            blocks=self.blocks,
            sample=self._sample() if stop == self.length and self.params.max_tokens else None,
            prompt_logprobs=wanted,
            targets=() if wanted is None else self.prompt[start + 1 : stop + 1],
        )

    def forget(self) -> None:
        """Lose the place in the KV cache: all is computed again, from prompt and output."""
        self.blocks = []
        self.computed = 0
        if self.wants_prompt_logprobs:
            self.prompt_logprobs.clear()

    def draft(self, most: int, *, limit: int) -> list[int]:
        """What may come next; never past the end that `max_tokens` or `limit` sets."""
        left = min(self.params.max_tokens - len(self.output), limit - self.length) - 1
        return self.lookup.draft(self.ids(0, self.length), min(most, left)) if left > 0 else []

    def take(self, tokens: Collection[int], eos: Collection[int], *, limit: int) -> Finish | None:
        """Append tokens up to the one that ends the sequence, and how that is."""
        for token in tokens:
            self.output.append(token)
            if finish := self.ending(eos, limit=limit):
                return finish
        return None

    def stop_token(self, eos: Collection[int]) -> int | None:
        """The newest id if it ends the text: never one of the first `min_tokens`."""
        if len(self.output) <= self.params.min_tokens:
            return None
        token = self.output[-1]
        ends = token in self.params.stop_token_ids or (token in eos and not self.params.ignore_eos)
        return token if ends else None

    def ending(self, eos: Collection[int], *, limit: int) -> Finish | None:
        """How the sequence has ended with its newest id; `limit` bounds prompt plus output."""
        if self.stop_token(eos) is not None:
            return "stop"
        if len(self.output) >= self.params.max_tokens or self.length >= limit:
            return "length"
        return None

    def _sample(self) -> Sample:
        return Sample(self.params, self.length, self.prompt, self.output, self.drafts)
