"""The engine: requests in, one forward pass a step, news out to each worker.

Owns every live sequence, in one thread: whoever calls `step` also calls all the rest. Knows no
sockets and no processes; time, the runner and where deliveries go are given to it.

A runner that is `ahead` gets the next batch before the results of the last one are looked at: what
the host does for a step then takes no time of the device's. Any other has its batch land at once.
"""

import logging
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Literal

from r3mes.engine import news
from r3mes.engine.block_pool import BlockPool
from r3mes.engine.gate import Gate
from r3mes.engine.launch import Crashed, Launch, Share
from r3mes.engine.lookup import worth
from r3mes.engine.messages import (
    AbortReason,
    Delivery,
    EngineStats,
    ModelInfo,
    Step,
    Submit,
    Update,
)
from r3mes.engine.pace import Pace
from r3mes.engine.runner import RowResult, Runner
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
        self._flights: deque[Launch] = deque()  # in the order of their launch; at most two
        self._landed = -math.inf  # when one did last
        self._news: defaultdict[str, list[Update]] = defaultdict(list)
        self._aborts: Counter[str] = Counter()
        self._drafts = Counter(accepted=0, rejected=0)
        self._failures = 0
        self._next_deadline = math.inf  # not later than that of any live sequence
        self.stats = self._snapshot()

    @property
    def busy(self) -> bool:
        """Is there anything for `step` to do now?"""
        return bool(self._live or self._news or self._flights)

    @property
    def limit(self) -> int:
        """Most tokens of prompt plus output that one sequence can have."""
        return self._gate.limit

    def submit(self, worker: str, *choices: Submit) -> None:
        """Take the choices of one request into the line, all or none.

        A refusal is news of an error for each of them.
        """
        now = self._clock()
        sequences = [_sequence(worker, it, now=now, limit=self.limit) for it in choices]
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
        """One forward pass, if anything is to run, and the news of one that has ended.

        Raises EngineCrash when the runner fails batch after batch.
        """
        self._expire()
        self._flush()  # refusals and expiries need not wait for the pass
        if self._scheduler.wants_newest:  # in turn such streams would run in two halves of a batch
            self._land_all_but(0)
        decoding = self._scheduler.decoding
        chunk = self._pace.chunk(decoding, self._scheduler.prompts)
        plan = self._scheduler.schedule(
            now=self._clock(), chunk=chunk, draft=self._drafter(decoding)
        )
        self._land_all_but(self._launch(plan) if plan else 0)
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
        if any(sequence.pending > len(self._flights) for sequence in scheduled):
            raise InternalError("a sequence waits for an id that nobody chooses")

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
        """What to draft for a sequence of so many that decode: as much as pays.

        Drafts follow the newest id, which is not known while its batch is in flight.
        """
        if self._runner.ahead or not self._settings.prompt_lookup:
            return lambda sequence: []
        cost, gain = self._pace.token_cost(rows), self._pace.token_gain(rows)

        def draft(sequence: Sequence) -> list[int]:
            most = worth(sequence.lookup.share, token_cost=cost, token_gain=gain)
            return sequence.draft(most) if most else []

        return draft

    def _launch(self, plan: Plan) -> int:
        """Returns how many batches may be in flight now: none may follow one that crashed."""
        launch = Launch.of(plan, self._runner, began=self._clock())
        self._flights.append(launch)
        return int(self._runner.ahead and not isinstance(launch.flight, Crashed))

    def _land_all_but(self, in_flight: int) -> None:
        while len(self._flights) > in_flight:
            self._land(self._flights.popleft())

    def _land(self, launch: Launch) -> None:
        try:
            results = launch.flight.land()
        except Exception:
            logger.exception("a batch of %d rows failed", len(launch.shares))
            self._failures += 1
            results = [RowResult(error="the batch failed")] * len(launch.shares)
        else:
            self._failures = 0
        now = self._clock()
        seconds, self._landed = now - max(launch.began, self._landed), now
        for share, result in zip(launch.shares, results, strict=True):
            if share.sequence.state != "finished":  # else nobody wants it any more
                self._commit(share, result, now=now)
        tokens, checked = launch.tokens, launch.checked
        if not self._failures:
            self._pace.record(seconds=seconds, rows=checked, prompt=tokens - checked)
        self._on_step(Step(launch.kind, seconds=seconds, tokens=tokens))

    def _commit(self, share: Share, result: RowResult, *, now: float) -> None:
        """Take in what one row brought."""
        sequence, row = share.sequence, share.row
        if result.error is not None:
            logger.error("request %s failed: %s", sequence.request_id, result.error)
            self._fail(sequence, InternalError(ROW_FAILED), reason="error")
        elif row.sample is not None:
            self._take(share, result, now=now)
        elif not share.lost:
            stop = row.start + row.known
            sequence.prompt_logprobs.extend(result.prompt_logprobs)
            self._scheduler.advance(sequence, start=row.start, stop=stop)
            if stop == len(sequence.prompt) and not sequence.most:
                self._retire(sequence)
                self._tell(sequence, news.prompt_news(sequence))

    def _take(self, share: Share, result: RowResult, *, now: float) -> None:
        """Of a row that brings ids: those count even if the sequence has had to give way."""
        sequence, row, before = share.sequence, share.row, len(share.sequence.output)
        sequence.pending -= 1
        sequence.prompt_logprobs.extend(result.prompt_logprobs)
        finish = sequence.take(result.tokens, self._eos)
        taken = len(sequence.output) - before
        self._count_drafts(sequence, accepted=len(result.tokens) - 1)
        if not share.lost:
            stop = row.start + row.known + taken - 1
            self._scheduler.advance(sequence, start=row.start, stop=stop)
        if sequence.first_token is None:
            sequence.first_token = now
        if finish:
            self._retire(sequence)
        told = news.token_news(sequence, taken, result.logprobs, finish=finish, eos=self._eos)
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


def _sequence(worker: str, choice: Submit, *, now: float, limit: int) -> Sequence:
    return Sequence(
        key=(worker, choice.stream),
        request_id=choice.request_id,
        prompt=choice.prompt,
        params=choice.params,
        deadline=math.inf if choice.deadline is None else choice.deadline,
        queued=now,
        most=min(choice.params.max_tokens, limit - len(choice.prompt)),
    )
