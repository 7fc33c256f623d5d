"""A Runner without a model: made-up text at a chosen pace, and a strict witness of the policy.

The token at a position is a function of (seed, position). A shadow of the KV store remembers which
id was written where, and a row whose block table does not hold exactly its own history fails. So
any mistake of the scheduler or of the block pool becomes an error that a test sees.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from itertools import chain

from r3mes.engine.messages import Logprob, ModelInfo
from r3mes.engine.runner import UNKNOWN, Batch, Flight, Landed, Row, RowResult, Sample
from r3mes.settings import EngineSettings, ModelSettings

EOS = 257
VOCAB = 259  # the 256 bytes, then bos, eos and pad
DEFAULT_BLOCKS = 8192
DEFAULT_MAX_LEN = 4096
FORCING_BIAS = 100.0
FLOOR = -9999.0
FIRST, LAST = ord(" "), ord("~")


def token_at(seed: int, position: int) -> int:
    """A printable ASCII byte."""
    spread = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=4).digest()
    return FIRST + int.from_bytes(spread, "big") % (LAST - FIRST + 1)


def choose(sample: Sample) -> int:
    """`token_at`, unless an id is biased by +100: that one is forced, as in the real sampler.

    That is how a test makes the fake say eos. Ids that would end the text are passed over while
    fewer than `min_tokens` exist.
    """
    params = sample.params
    masked: Collection[int] = {EOS, *params.stop_token_ids} if sample.early else ()
    forced = [token for token, bias in params.logit_bias.items() if bias >= FORCING_BIAS]
    byte = token_at(params.seed, sample.position)
    candidates = chain(forced, range(byte, LAST + 1), range(FIRST, byte))
    return next(token for token in candidates if token not in masked)


def follow(sample: Sample) -> tuple[int, ...]:
    """The chosen token, and one more for each draft that is what was chosen."""
    tokens = [choose(sample)]
    for count, draft in enumerate(sample.drafts, start=1):
        if draft != tokens[-1]:
            break
        tokens.append(choose(sample.after(count)))
    return tuple(tokens)


def certain(token: int, alternatives: int) -> Logprob:
    """The fake has no doubts: its choice has probability 1, everything else none."""
    others = [(other, FLOOR) for other in range(alternatives + 1) if other != token]
    return Logprob(token, 0.0, 1, [(token, 0.0), *others][:alternatives])


class FakeRunner:
    """One that is `ahead` computes at the launch too, but tells no token before the landing."""

    vocab_size = VOCAB

    def __init__(
        self, *, num_blocks: int, block_size: int, step_ms: float = 0.0, ahead: bool = False
    ) -> None:
        self.num_blocks = num_blocks
        self.ahead = ahead
        self._size = block_size
        self._pause = step_ms / 1000
        self._ids: list[list[int]] = [[] for _ in range(num_blocks)]  # as written into each block
        self._index = [-1] * num_blocks  # its place in the table it was written through
        self._chosen: list[tuple[Sample | None, int]] = []  # last in each row of the last batch

    def launch(self, batch: Batch) -> Flight:
        if self._pause:
            time.sleep(self._pause)
        owners = Counter(block for row in batch.rows for block in set(row.blocks))
        results = [self._row(row, owners) for row in batch.rows]
        self._chosen = [
            (row.sample, result.tokens[-1] if result.tokens else UNKNOWN)
            for row, result in zip(batch.rows, results, strict=True)
        ]
        return Landed(results)

    def _row(self, row: Row, owners: Counter[int]) -> RowResult:
        if fault := self._follows_fault(row):
            return RowResult(error=fault)
        row = self._filled(row)
        if fault := self._table_fault(row, owners) or self._history_fault(row):
            return RowResult(error=fault)
        self._write(row)
        prompt = tuple(certain(token, row.prompt_logprobs or 0) for token in row.targets)
        if row.sample is None:
            return RowResult(prompt_logprobs=prompt)
        tokens = follow(row.sample)
        wanted = row.sample.params.logprobs
        entries = () if wanted is None else tuple(certain(token, wanted) for token in tokens)
        return RowResult(tokens, entries, prompt)

    def _follows_fault(self, row: Row) -> str | None:
        """Is what it follows the row of the same sequence, one position before?"""
        unknown = [place for place, token in enumerate(row.tokens) if token == UNKNOWN]
        if row.follows is None:
            return "a token is unknown" if unknown else None
        if not self.ahead or row.sample is None or unknown != [len(row.tokens) - 1]:
            return "not just the newest token is unknown"
        if row.sample.params.counts_output:
            return "the choice hangs on a token that is unknown"
        followed, token = self._chosen[row.follows]
        if token == UNKNOWN or followed is None:
            return "no token was chosen in the row that it follows"
        wish = row.sample
        before = (followed.params, followed.prompt, followed.position + 1)
        if before != (wish.params, wish.prompt, wish.position):
            return "the row that it follows is another sequence's"
        return None

    def _filled(self, row: Row) -> Row:
        """With the token that was chosen in the row that it follows."""
        if row.follows is None or row.sample is None:
            return row
        _, token = self._chosen[row.follows]
        sample = replace(row.sample, output=[*row.sample.output, token])
        return replace(row, tokens=[*row.tokens[:-1], token], sample=sample)

    def _table_fault(self, row: Row, owners: Counter[int]) -> str | None:
        stop = row.start + len(row.tokens)
        if not row.tokens or -(-stop // self._size) != len(row.blocks):
            return "the block table does not fit the tokens"
        if len(set(row.blocks)) != len(row.blocks):
            return "a block is twice in the table"
        if any(owners[block] > 1 for block in row.blocks[row.start // self._size :]):
            return "a block that is written belongs to another row too"
        return None

    def _history_fault(self, row: Row) -> str | None:
        """Are the ids below `start` in their places? Which ids, only a sampling row can tell."""
        wish = row.sample
        history = None if wish is None else [*wish.prompt, *wish.output, *wish.drafts]
        if history is not None and history[row.start :] != list(row.tokens):
            return "the tokens are not the rest of the sequence"
        for index, block in enumerate(row.blocks[: -(-row.start // self._size)]):
            begin = index * self._size
            count = min(self._size, row.start - begin)
            held = self._ids[block][:count]
            if self._index[block] != index or len(held) != count:
                return "a position below the start was never computed"
            if history is not None and held != history[begin : begin + count]:
                return "the block table holds another sequence's history"
        return None

    def _write(self, row: Row) -> None:
        for position, token in enumerate(row.tokens, start=row.start):
            index, offset = divmod(position, self._size)
            block = row.blocks[index]
            self._index[block] = index
            del self._ids[block][offset:]
            self._ids[block].append(token)


def load_fake(model: ModelSettings, engine: EngineSettings) -> tuple[ModelInfo, FakeRunner]:
    """What `load_model` is to the real runner: needs no files and no time."""
    info = ModelInfo(
        name=model.name or "fake",
        path="",
        max_len=model.max_len or DEFAULT_MAX_LEN,
        vocab_size=VOCAB,
        eos_token_ids=(EOS,),
        dtype="none",
        device="cpu",
        fingerprint="fake",
        defaults={},
    )
    runner = FakeRunner(
        num_blocks=engine.kv_blocks or DEFAULT_BLOCKS,
        block_size=engine.block_size,
        step_ms=engine.fake_step_ms,
    )
    return info, runner
