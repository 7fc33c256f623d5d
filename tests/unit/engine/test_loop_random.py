"""Anything may happen to the engine, in any order: its books are sound and its answers right.

Small pools force preemption, prompts of two families force sharing, and the fake runner fails a
row whose block table is wrong, which would end a stream with an error that nobody asked for.
"""

from itertools import chain

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from r3mes.engine.fake import FIRST, LAST
from r3mes.engine.sequence import Key
from support.engine import FakeEngine, answer, eager


def next_byte(token: int) -> int:
    """What the fake says in place of an id that it must not say."""
    return FIRST if token == LAST else token + 1


WORKERS = st.sampled_from(["a", "b"])


class EngineMachine(RuleBasedStateMachine):
    @initialize(
        blocks=st.integers(4, 24),
        batch=st.integers(1, 6),
        waiting=st.integers(1, 6),
        chunk=st.integers(16, 24),
        prefix_cache=st.booleans(),
        drafting=st.booleans(),
        ahead=st.booleans(),
        size=st.sampled_from([2, 4, 5]),
    )
    def start(
        self,
        blocks: int,
        batch: int,
        waiting: int,
        chunk: int,
        prefix_cache: bool,
        drafting: bool,
        ahead: bool,
        size: int,
    ) -> None:
        self.fake = FakeEngine(
            pace=eager(chunk) if drafting else None,
            ahead=ahead,
            kv_blocks=blocks * 4 // size,
            block_size=size,
            max_batch=batch,
            max_waiting=waiting,
            chunk_tokens=chunk,
            prefix_cache=prefix_cache,
            max_len=48,
        )
        self.prompts: dict[Key, list[int]] = {}
        self.wanted: dict[Key, int] = {}
        self.least: dict[Key, int] = {}
        self.stops: dict[Key, tuple[int, ...]] = {}
        self.told_prompts: set[Key] = set()  # whose logprobs are wished
        self.deadlines: dict[Key, float] = {}
        self.aborted: set[Key] = set()
        self.dead: set[Key] = set()

    @rule(
        worker=WORKERS,
        family=st.integers(0, 1),
        length=st.integers(1, 30),
        tail=st.integers(0, 3),
        wanted=st.integers(0, 30),
        patience=st.none() | st.integers(0, 30),
        logprobs=st.none() | st.integers(0, 2),
        least=st.integers(0, 12),
        stops=st.booleans(),
        penalty=st.sampled_from([0.0, 0.0, 0.5]),
    )
    def submit(
        self,
        worker: str,
        family: int,
        length: int,
        tail: int,
        wanted: int,
        patience: int | None,
        logprobs: int | None,
        least: int,
        stops: bool,
        penalty: float,
    ) -> None:
        key = (worker, len(self.prompts))
        self.prompts[key] = prompt = [family] * length + [tail] * tail
        # One of the first ids of its own answer ends it, unless that is too early.
        self.stops[key] = tuple(answer(prompt, 6, seed=key[1])[3:4]) if stops else ()
        self.least[key] = least if stops else 0
        self.wanted[key] = wanted
        if logprobs is not None:
            self.told_prompts.add(key)
        deadline = None if patience is None else self.fake.clock.now + patience
        if deadline is not None:
            self.deadlines[key] = deadline
        self.fake.submit(
            key[1],
            prompt,
            worker=worker,
            deadline=deadline,
            max_tokens=wanted,
            seed=key[1],
            prompt_logprobs=logprobs,
            min_tokens=self.least[key],
            stop_token_ids=self.stops[key],
            presence_penalty=penalty,
        )

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        if not self.prompts:
            return
        worker, stream = data.draw(st.sampled_from(sorted(self.prompts)))
        self.fake.engine.abort(worker, [stream])
        self.aborted.add((worker, stream))

    @rule()
    def a_worker_dies(self) -> None:
        self.fake.engine.abort_worker("b")
        self.dead |= {key for key in self.prompts if key[0] == "b"}

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.fake.clock.now += seconds

    @rule(times=st.integers(1, 8))
    def step(self, times: int) -> None:
        self.fake.step(times)

    @invariant()
    def the_books_are_sound(self) -> None:
        if hasattr(self, "fake"):
            self.fake.engine.check()

    def teardown(self) -> None:
        if not hasattr(self, "fake"):
            return
        self.fake.finish()
        for key in self.prompts:
            self._ended_as_it_should(key)
        self._served_in_order()

    def _ended_as_it_should(self, key: Key) -> None:
        updates = self.fake.ledger.updates[key]
        ids = list(chain.from_iterable(update.ids for update in updates))
        finishes = [update.finish for update in updates if update.finish]
        assert self._expected(key, len(ids)) == ids
        if ids and key in self.told_prompts:
            told = updates[0].prompt_logprobs or []
            assert self.prompts[key][1:] == [each.token for each in told if each]
        if key in self.dead and not finishes:
            return
        assert 1 == len(finishes) == (updates[-1].finish is not None)
        last = updates[-1]
        allowed = {
            "length": len(ids) == self.wanted[key]
            or len(ids) + len(self.prompts[key]) == self.fake.engine.limit,
            "stop": ids[-1:] == [last.stop_token] and last.stop_token in self.stops[key],
            "abort": key in self.aborted,
            "error": last.error in {"context_length_exceeded", "server_overloaded"}
            or (last.error == "deadline_exceeded" and self.fake.clock.now >= self.deadlines[key]),
        }
        assert allowed[last.finish or ""]

    def _expected(self, key: Key, count: int) -> list[int]:
        """What it must get up to its stop id, which is passed over while that is too early."""
        ids: list[int] = []
        for token in answer(self.prompts[key], count, seed=key[1]):
            early = len(ids) < self.least[key]
            ids.append(next_byte(token) if early and token in self.stops[key] else token)
            if not early and token in self.stops[key]:
                break
        return ids

    def _served_in_order(self) -> None:
        """Who came first got the first token first, or in the same pass."""
        passes = [self.fake.began[key] for key in self.prompts if key in self.fake.began]
        assert sorted(passes) == passes


TestRandomOperations = EngineMachine.TestCase
TestRandomOperations.settings = settings(
    max_examples=100, stateful_step_count=50, derandomize=True, database=None
)
