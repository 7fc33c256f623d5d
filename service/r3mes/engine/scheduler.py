"""Decides which sequences run next, with how many tokens, and who must give way.

First come, first served: the running batch, oldest first, followed by the waiting line is at all
times the order of arrival. Knows nothing of torch, sockets or time.
"""

from collections import deque
from collections.abc import Callable
from itertools import accumulate, chain, islice, pairwise, takewhile

from r3mes.engine.block_pool import BlockPool
from r3mes.engine.sequence import Sequence
from r3mes.errors import InternalError

Plan = dict[Sequence, int]  # how many tokens each sequence feeds in this step, drafts included
Draft = Callable[[Sequence], list[int]]  # what may come next in a sequence that decodes


class Scheduler:
    """Knows who is there and which blocks are whose; how much a step may feed it is told."""

    def __init__(self, pool: BlockPool, *, max_batch: int, prefix_cache: bool) -> None:
        self.pool = pool
        self.max_batch = max_batch
        self.prefix_cache = prefix_cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.prefix_hits = 0
        self.prefix_misses = 0
        self.chunks = 0
        self.preemptions = 0

    @property
    def seats(self) -> int:
        """Places in the batch that nobody has."""
        return self.max_batch - len(self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is; its blocks are free at once."""
        line = self.waiting if sequence.state == "waiting" else self.running
        line.remove(sequence)
        self.pool.release(sequence.blocks)
        sequence.forget()
        sequence.state = "finished"

    @property
    def decoding(self) -> int:
        """Sequences that wait for their next token."""
        return sum(sequence.decoding for sequence in self.running)

    @property
    def prompts(self) -> int:
        """Sequences whose prompts could be fed now."""
        begun = sum(each.missing > 0 and not each.decoding for each in self.running)
        return begun + self._admissible()

    @property
    def wants_newest(self) -> bool:
        """Must what is in flight land before anybody can go on with those who count their ids?"""
        return any(sequence.wants_newest for sequence in self.running)

    def schedule(self, *, now: float, chunk: int, draft: Draft) -> Plan:
        """One token for each decoding sequence and what is drafted to follow it, and beside them
        `chunk` tokens of prompts, the oldest first."""
        plan: Plan = {}
        budget = chunk
        for sequence in tuple(self.running):
            count = 1 if sequence.decoding else min(sequence.missing, budget)
            if count and sequence.state == "running" and self._grow(sequence, count):
                plan[sequence] = count
                budget -= 0 if sequence.decoding else count
        while budget and self._admit(now=now):
            newest = self.running[-1]
            plan[newest] = min(newest.missing, budget)
            budget -= plan[newest]
            self._grow(newest, plan[newest])
        for sequence in plan:  # the last, of what nobody else needs
            if sequence.decoding and (drafts := draft(sequence)):
                plan[sequence] += self._add_drafts(sequence, drafts)
        self.chunks += sum(count < sequence.missing for sequence, count in plan.items())
        return plan

    def advance(self, sequence: Sequence, *, start: int, stop: int) -> None:
        """Positions from `start` to `stop` are computed and their ids are known; blocks that are
        full with them become findable."""
        size = self.pool.block_size
        done, full = start // size, stop // size
        sequence.computed = max(sequence.computed, stop)  # the next ones may be on their way
        self._give_back_surplus(sequence)
        if not self.prefix_cache or full == done:
            return
        names = sequence.names(full, block_size=size)
        for index in range(done, full):
            self.pool.publish(sequence.blocks[index], names[index])

    def _give_back_surplus(self, sequence: Sequence) -> None:
        """Blocks that only drafts wanted which did not come true."""
        needed = self.pool.blocks_for(sequence.computed)
        self.pool.release(sequence.blocks[needed:])
        del sequence.blocks[needed:]

    def check(self) -> None:
        """Raise InternalError unless blocks, states and the order of arrival are sound."""
        self.pool.check(sequence.blocks for sequence in chain(self.running, self.waiting))
        if any(sequence.blocks for sequence in self.waiting):
            raise InternalError("a waiting sequence holds blocks")
        if len(self.running) > self.max_batch:
            raise InternalError("the batch is too large")
        line = pairwise(chain(self.running, self.waiting))
        if any(older.queued > younger.queued for older, younger in line):
            raise InternalError("the order of arrival is lost")

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Blocks for `count` more positions, from the newest if need be; False if that is itself.

        Sequences are served oldest first, so one that must give way is not in the plan yet.
        """
        wanted = self.pool.blocks_for(sequence.computed + count) - len(sequence.blocks)
        while wanted > self.pool.available:
            newest = self.running[-1]
            self._preempt(newest)
            if newest is sequence:
                return False
        sequence.blocks += self.pool.take(wanted)
        return True

    def _add_drafts(self, sequence: Sequence, drafts: list[int]) -> int:
        """How many are fed: all of them, or none where there is no room."""
        end = sequence.computed + 1 + len(drafts)
        wanted = self.pool.blocks_for(end) - len(sequence.blocks)
        if wanted > self.pool.available:
            return 0
        sequence.blocks += self.pool.take(wanted)
        sequence.drafts = drafts
        return len(drafts)

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the front of the line: it is older than all who wait there."""
        self.running.remove(sequence)
        self.pool.release(sequence.blocks)
        sequence.forget()
        sequence.state = "waiting"
        sequence.preemptions += 1
        self.preemptions += 1
        self.waiting.appendleft(sequence)

    def _admit(self, *, now: float) -> bool:
        """Move the head of the line into the batch if there is a seat and its ids fit.

        It may have had to give way while its next id was being chosen, and waits for that first.
        """
        if not self.waiting or not self.seats or self.waiting[0].pending:
            return False
        sequence = self.waiting[0]
        prefix = self._reusable(sequence)
        if not self._fits(sequence, prefix):
            return False
        self.pool.share(prefix)
        sequence.blocks = prefix
        sequence.computed = len(prefix) * self.pool.block_size
        sequence.state = "running"
        self.running.append(self.waiting.popleft())
        if sequence.scheduled is None:
            self._count_prefix(sequence)
            sequence.scheduled = now
        return True

    def _reusable(self, sequence: Sequence) -> list[int]:
        """Cached blocks of its prefix. The last id is always computed: a token hangs on it."""
        if not self.prefix_cache or sequence.wants_prompt_logprobs:
            return []
        size = self.pool.block_size
        return self.pool.find(sequence.names((sequence.length - 1) // size, block_size=size))

    def _admissible(self) -> int:
        """How many of the line find a seat and blocks, cached ones aside."""
        room = self.pool.available - self._promised()
        needs = (self.pool.blocks_for(each.length) for each in islice(self.waiting, self.seats))
        return sum(1 for _ in takewhile(lambda used: used <= room, accumulate(needs)))

    def _promised(self) -> int:
        """Every running sequence is left one block to grow, else a newcomer would be preempted
        soon."""
        return sum(
            self.pool.blocks_for(other.length) - len(other.blocks) + 1 for other in self.running
        )

    def _fits(self, sequence: Sequence, prefix: list[int]) -> bool:
        """Is there room for all its ids beside what the batch still needs to go on?"""
        shared = sum(map(self.pool.is_used, prefix))
        fresh = self.pool.blocks_for(sequence.length) - shared
        return fresh + self._promised() <= self.pool.available

    def _count_prefix(self, sequence: Sequence) -> None:
        """Once a sequence: what it computes again after a preemption is not the cache's merit."""
        sequence.cached_tokens = sequence.computed
        self.prefix_hits += sequence.computed
        self.prefix_misses += len(sequence.prompt) - sequence.computed
