"""One choice being generated: its ids, its place in the KV cache and its times.

Knows how it becomes a row of a batch and when it ends; decides nothing about who runs.

A batch may be launched before the tokens of the one before are known. So positions count as
computed once they are launched: whoever reads them comes later on the device. An id counts in
`length` once it is being chosen, and is among `output` once it is known.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from r3mes.engine.block_pool import digest
from r3mes.engine.lookup import Lookup
from r3mes.engine.messages import Finish, Logprob, SamplingParams, Stamps
from r3mes.engine.runner import UNKNOWN, Row, Sample

Key = tuple[str, int]  # worker and its stream


@dataclass(slots=True, eq=False)
class Sequence:
    key: Key
    request_id: str
    prompt: list[int]
    params: SamplingParams
    deadline: float  # math.inf when there is none
    queued: float
    most: int  # ids that the output can have, by `max_tokens` and by the room there is
    output: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    computed: int = 0  # positions whose keys and values are in `blocks`, or will be: see above
    pending: int = 0  # ids that are being chosen
    place: int = 0  # of its row in the batch that was launched last with it
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
        return len(self.prompt) + len(self.output) + self.pending

    @property
    def waits(self) -> bool:
        """Nothing can be computed before the id in flight is known: it is the last one, or which
        it is decides about the next."""
        ends = len(self.output) + self.pending >= self.most
        return self.wants_newest or (self.pending > 0 and ends)

    @property
    def wants_newest(self) -> bool:
        """An id is in flight, and which it is decides about the next one: ids are counted."""
        return self.pending > 0 and self.params.counts_output

    @property
    def missing(self) -> int:
        """Positions that can be computed before the next token is chosen."""
        return 0 if self.waits else self.length - self.computed

    @property
    def decoding(self) -> bool:
        return bool(self.output or self.pending) and self.missing == 1

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
        """Feed the next `count` ids, drafts included; wish for a token after the last of them."""
        start, stop = self.computed, self.computed + count - len(self.drafts)
        follows = bool(self.pending) and stop == self.length
        asked = self.wants_prompt_logprobs and start < len(self.prompt)
        wanted = self.params.prompt_logprobs if asked else None
        return Row(
            tokens=self.ids(start, stop) + [UNKNOWN] * follows + self.drafts,
            start=start,
            blocks=self.blocks,
            sample=self._sample() if stop == self.length and self.most else None,
            prompt_logprobs=wanted,
            targets=() if wanted is None else self.prompt[start + 1 : stop + 1],
            follows=self.place if follows else None,
        )

    def launched(self, row: Row, *, place: int) -> None:
        """That row is on its way, in this place of its batch."""
        self.place = place
        self.computed += row.known
        self.pending += row.sample is not None

    def forget(self) -> None:
        """Lose the place in the KV cache: all is computed again, from prompt and output.

        An id that is being chosen comes all the same, and the prompt's last logprobs with it.
        """
        self.blocks = []
        self.computed = 0
        if self.wants_prompt_logprobs and not self.pending:
            self.prompt_logprobs.clear()

    def draft(self, most: int) -> list[int]:
        """What may come next; never past the end."""
        left = self.most - len(self.output) - 1
        return self.lookup.draft(self.ids(0, self.length), min(most, left)) if left > 0 else []

    def take(self, tokens: Collection[int], eos: Collection[int]) -> Finish | None:
        """Append tokens up to the one that ends the sequence, and how that is."""
        for token in tokens:
            self.output.append(token)
            if finish := self.ending(eos):
                return finish
        return None

    def stop_token(self, eos: Collection[int]) -> int | None:
        """The newest id if it ends the text: never one of the first `min_tokens`."""
        if len(self.output) <= self.params.min_tokens:
            return None
        token = self.output[-1]
        ends = token in self.params.stop_token_ids or (token in eos and not self.params.ignore_eos)
        return token if ends else None

    def ending(self, eos: Collection[int]) -> Finish | None:
        """How the sequence has ended with its newest id."""
        if self.stop_token(eos) is not None:
            return "stop"
        return "length" if len(self.output) >= self.most else None

    def _sample(self) -> Sample:
        return Sample(self.params, self.length, self.prompt, self.output, self.drafts)
