"""The seam between policy and arithmetic: a batch of ragged rows in, one result a row out.

Knows no torch. Implementations: `fake.FakeRunner` (torch-free), `model_runner.ModelRunner`.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

from r3mes.engine.messages import Logprob, SamplingParams

UNKNOWN = -1  # stands for a token that was chosen on the device and is not known here yet


@dataclass(frozen=True, slots=True)
class Sample:
    """A wish for the token at index `position` of prompt + output.

    `prompt` and `output` are the ids before it, but for one that is not known yet: penalties count
    them, so that nothing with penalties follows a row in flight. Randomness depends on
    (params.seed, position) alone. `drafts` are what that token and the next may be: each is
    followed as long as it is what is chosen, so that a step can bring several tokens.
    """

    params: SamplingParams
    position: int
    prompt: Seq[int]
    output: Seq[int]
    drafts: Seq[int] = ()

    @property
    def early(self) -> bool:
        """Is this one of the first `min_tokens`?"""
        return self.position - len(self.prompt) < self.params.min_tokens

    def after(self, count: int) -> "Sample":
        """The wish for the token after so many of the drafts."""
        if not count:
            return self
        taken = [*self.output, *self.drafts[:count]]
        return Sample(self.params, self.position + count, self.prompt, taken)


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence's share of a step: feed `tokens`, the drafts last, at start, start+1, …

    `blocks` is the block table; it covers start + len(tokens) positions, and positions below
    `start` already hold keys and values. `sample` is None for a prompt chunk that is not the last.
    `prompt_logprobs` asks for the logprobs of the prompt ids that follow each fed position;
    `targets` are those ids: one for each fed position, or one less at the prompt's end.
    `follows` is the index of a row of the batch launched just before: the token that was chosen
    there last is the last one fed here, where UNKNOWN holds its place in `tokens`.
    """

    tokens: Seq[int]
    start: int
    blocks: Seq[int]
    sample: Sample | None
    prompt_logprobs: int | None = None
    targets: Seq[int] = ()
    follows: int | None = None

    @property
    def drafts(self) -> Seq[int]:
        return self.sample.drafts if self.sample else ()

    @property
    def known(self) -> int:
        """How many of the fed tokens are no drafts."""
        return len(self.tokens) - len(self.drafts)


@dataclass(frozen=True, slots=True)
class Batch:
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class RowResult:
    """`tokens` is empty when no sample was wished or `error` says why this row failed; it has one
    more than drafts came true. `logprobs` has one for each, if they were wished."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    prompt_logprobs: tuple[Logprob, ...] = ()
    error: str | None = None


class Flight(Protocol):
    """A batch under way."""

    def land(self) -> list[RowResult]:
        """Wait for it; results in the order of the rows. To be called once."""
        ...


@dataclass(frozen=True, slots=True)
class Landed:
    """The flight of a batch that was computed within its launch."""

    results: list[RowResult]

    def land(self) -> list[RowResult]:
        return self.results


class Runner(Protocol):
    """Owns the weights and the KV store. One failing row must not fail the others.

    `ahead` tells that a batch may be launched while the one before is in flight, and that its rows
    may follow that one's. Batches are computed, and land, in the order of their launches.
    """

    num_blocks: int
    vocab_size: int
    ahead: bool

    def launch(self, batch: Batch) -> Flight:
        """One forward pass."""
        ...
