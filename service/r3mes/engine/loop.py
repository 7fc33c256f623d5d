"""The engine: requests in, one forward pass a step, news out to each worker.

Owns every live sequence, in one thread: whoever calls `step` also calls all the rest. Knows no
sockets and no processes; time, the runner and where deliveries go are given to it.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Literal

from r3mes.engine import news
from r3mes.engine.block_pool import BlockPool
from r3mes.engine.gate import Gate
from r3mes.engine.lookup import worth
from r3mes.engine.messages import (
    AbortReason,
    Delivery,
    EngineStats,
    Finish,
    ModelInfo,
    Step,
    Submit,
    Update,
)
from r3mes.engine.pace import Pace
from r3mes.engine.runner import Batch, RowResult, Runner
from r3mes.engine.scheduler import Draft, Plan, Scheduler
from r3mes.engine.sequence import Key, Sequence
from r3mes.errors import (
    DeadlineExceeded,
    EngineCrash,
    InternalError,
    InvalidRequest,
    Overloaded,
    R3mesError,
)
from r3mes.settings import EngineSettings

logger = logging.getLogger(__name__)

Deliver = Callable[[str, Delivery], None]
EndReason = Literal[AbortReason, "deadline", "worker_died", "error"]
PAST_DEADLINE = "The request's deadline has passed."
ROW_FAILED = "The model failed on this request."
FAILURES = 3  # whole batches that may fail in a row before the runner counts as broken


class Engine:
    """`deliver` gets the news of one worker, and may abort that worker if it cannot be reached;
    `on_step` gets a report of each forward pass; `pace` may know already how long steps take."""

    def __init__(
        self,
        runner: Runner,
        *,
        model: ModelInfo,
        settings: EngineSettings,
        clock: Callable[[], float],
        deliver: Deliver,
        on_step: Callable[[Step], None],
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace(settings.chunk_tokens)
        self._runner = runner
        self._settings = settings
        self._clock = clock
        self._deliver = deliver
        self._on_step = on_step
        self._pool = BlockPool(runner.num_blocks, settings.block_size)
        self._scheduler = Scheduler(
            self._pool,
            max_batch=settings.max_batch,
            prefix_cache=settings.prefix_cache,
        )
        self._gate = Gate(model, capacity=runner.num_blocks * settings.block_size)
        self._eos = frozenset(model.eos_token_ids)
        self._live: dict[Key, Sequence] = {}
        self._news: defaultdict[str, list[Update]] = defaultdict(list)
        self._aborts: Counter[str] = Counter()
        self._drafts = Counter(accepted=0, rejected=0)
        self._failures = 0
        self._next_deadline = math.inf  # not later than that of any live sequence
        self.stats = self._snapshot()

    @property
    def busy(self) -> bool:
        """Is there anything for `step` to do now?"""
        return bool(self._live or self._news)

    @property
    def limit(self) -> int:
        """Most tokens of prompt plus output that one sequence can have."""
        return self._gate.limit

    def submit(self, worker: str, *choices: Submit) -> None:
        """Take the choices of one request into the line, all or none.

        A refusal is news of an error for each of them.
        """
        now = self._clock()
        sequences = [_sequence(worker, choice, now=now) for choice in choices]
        try:
            self._check(sequences, choices)
        except R3mesError as error:
            for sequence in sequences:
                self._tell(sequence, news.error_news(sequence, error))
            return
        for sequence in sequences:
            self._live[sequence.key] = sequence
            self._scheduler.add(sequence)
            self._next_deadline = min(self._next_deadline, sequence.deadline)

    def abort(self, worker: str, streams: list[int], *, reason: AbortReason = "client") -> None:
        """Stop these streams and free their blocks; ignores those that have ended already."""
        for stream in streams:
            if sequence := self._live.get((worker, stream)):
                self._abort(sequence, reason=reason)
                self._tell(sequence, news.abort_news(sequence))

    def abort_worker(self, worker: str) -> None:
        """Stop all streams of a worker that is gone; nobody is left to be told."""
        for sequence in [each for each in self._live.values() if each.key[0] == worker]:
            self._abort(sequence, reason="worker_died")
        self._news.pop(worker, None)

    def step(self) -> None:
        """One forward pass, if anything is to run.

        Raises EngineCrash when the runner fails batch after batch.
        """
        self._expire()
        self._flush()  # refusals and expiries need not wait for the pass
        decoding = self._scheduler.decoding
        plan = self._scheduler.schedule(
            now=self._clock(), chunk=self._pace.chunk(decoding), draft=self._drafter(decoding)
        )
        if plan:
            self._run(plan)
            self._flush()
        self.stats = self._snapshot()
        if self._failures >= FAILURES:
            raise EngineCrash(f"The model failed {FAILURES} batches in a row.")

    def check(self) -> None:
        """Raise InternalError unless blocks, states and the line are sound."""
        self._scheduler.check()
        scheduled = {*self._scheduler.waiting, *self._scheduler.running}
        if scheduled != set(self._live.values()):
            raise InternalError("live sequences and scheduled ones differ")

    def _check(self, sequences: list[Sequence], choices: tuple[Submit, ...]) -> None:
        keys = {sequence.key for sequence in sequences}
        if len(keys) < len(sequences) or not keys.isdisjoint(self._live):
            raise InvalidRequest("The number of a stream is in use.")
        for choice in choices:
            self._gate.check(choice)
        # Who finds a seat in the next step does not really wait.
        room = self._settings.max_waiting + self._scheduler.seats - len(self._scheduler.waiting)
        if len(sequences) > room:
            raise Overloaded("The line of waiting requests is full.")

    def _expire(self) -> None:
        """End what is past its deadline, be it in the line or in the batch."""
        now = self._clock()
        if now < self._next_deadline:
            return
        for sequence in [each for each in self._live.values() if each.deadline <= now]:
            self._fail(sequence, DeadlineExceeded(PAST_DEADLINE), reason="deadline")
        self._next_deadline = min((each.deadline for each in self._live.values()), default=math.inf)

    def _drafter(self, rows: int) -> Draft:
        """What to draft for a sequence of so many that decode: as much as pays."""
        if not self._settings.prompt_lookup:
            return lambda sequence: []
        cost, gain = self._pace.token_cost(rows), self._pace.token_gain(rows)

        def draft(sequence: Sequence) -> list[int]:
            most = worth(sequence.lookup.share, token_cost=cost, token_gain=gain)
            return sequence.draft(most, limit=self.limit) if most else []

        return draft

    def _run(self, plan: Plan) -> None:
        rows = tuple(sequence.row(count) for sequence, count in plan.items())
        decoding = sum(sequence.decoding for sequence in plan)
        checked = decoding + sum(len(sequence.drafts) for sequence in plan)
        began = self._clock()
        try:
            results = self._runner.launch(Batch(rows)).land()
        except Exception:
            logger.exception("a batch of %d rows failed", len(rows))
            self._failures += 1
            results = [RowResult(error="the batch failed")] * len(rows)
        else:
            self._failures = 0
        now = self._clock()
        for (sequence, count), result in zip(plan.items(), results, strict=True):
            self._commit(sequence, count, result, now=now)
        tokens = sum(plan.values())
        if not self._failures:
            self._pace.record(seconds=now - began, rows=checked, prompt=tokens - checked)
        self._on_step(Step(_kind(decoding, of=len(rows)), seconds=now - began, tokens=tokens))

    def _commit(self, sequence: Sequence, count: int, result: RowResult, *, now: float) -> None:
        """Take in what one row brought."""
        if result.error is not None:
            logger.error("request %s failed: %s", sequence.request_id, result.error)
            self._fail(sequence, InternalError(ROW_FAILED), reason="error")
            return
        known, before = count - len(sequence.drafts), len(sequence.output)
        sequence.prompt_logprobs.extend(result.prompt_logprobs)
        finish = sequence.take(result.tokens, self._eos, limit=self.limit)
        taken = len(sequence.output) - before
        self._count_drafts(sequence, accepted=max(0, len(result.tokens) - 1))
        self._scheduler.advance(sequence, known + max(0, taken - 1))
        if taken:
            self._tell_tokens(sequence, taken, result, finish=finish, now=now)
        elif not sequence.missing:  # max_tokens is 0
            self._retire(sequence)
            self._tell(sequence, news.prompt_news(sequence))

    def _tell_tokens(
        self,
        sequence: Sequence,
        count: int,
        result: RowResult,
        *,
        finish: Finish | None,
        now: float,
    ) -> None:
        if sequence.first_token is None:
            sequence.first_token = now
        if finish:
            self._retire(sequence)
        told = news.token_news(sequence, count, result.logprobs, finish=finish, eos=self._eos)
        self._tell(sequence, told)

    def _count_drafts(self, sequence: Sequence, *, accepted: int) -> None:
        drafted = len(sequence.drafts)
        sequence.lookup.record(drafted=drafted, accepted=accepted)
        self._drafts["accepted"] += accepted
        self._drafts["rejected"] += drafted - accepted
        sequence.drafts = []

    def _retire(self, sequence: Sequence) -> None:
        """The sequence has ended, one way or another; its blocks are free."""
        self._scheduler.remove(sequence)
        del self._live[sequence.key]
        sequence.finished = self._clock()

    def _abort(self, sequence: Sequence, *, reason: EndReason) -> None:
        self._retire(sequence)
        self._aborts[reason] += 1

    def _fail(self, sequence: Sequence, error: R3mesError, *, reason: EndReason) -> None:
        self._abort(sequence, reason=reason)
        self._tell(sequence, news.error_news(sequence, error))

    def _tell(self, sequence: Sequence, update: Update) -> None:
        worker, _ = sequence.key
        self._news[worker].append(update)

    def _flush(self) -> None:
        ready, self._news = self._news, defaultdict(list)
        for worker, updates in ready.items():
            self._deliver(worker, Delivery(updates))

    def _snapshot(self) -> EngineStats:
        return EngineStats(
            waiting=len(self._scheduler.waiting),
            running=len(self._scheduler.running),
            capacity=self._settings.max_batch,
            max_waiting=self._settings.max_waiting,
            blocks_free=self._pool.free,
            blocks_used=self._pool.used,
            blocks_cached=self._pool.cached,
            block_size=self._pool.block_size,
            prefix_hits=self._scheduler.prefix_hits,
            prefix_misses=self._scheduler.prefix_misses,
            chunks=self._scheduler.chunks,
            preemptions=self._scheduler.preemptions,
            drafts=dict(self._drafts),
            aborts=dict(self._aborts),
        )


def _sequence(worker: str, choice: Submit, *, now: float) -> Sequence:
    return Sequence(
        key=(worker, choice.stream),
        request_id=choice.request_id,
        prompt=choice.prompt,
        params=choice.params,
        deadline=math.inf if choice.deadline is None else choice.deadline,
        queued=now,
    )


def _kind(decoding: int, *, of: int) -> Literal["prefill", "decode", "mixed"]:
    if not decoding:
        return "prefill"
    return "decode" if decoding == of else "mixed"
