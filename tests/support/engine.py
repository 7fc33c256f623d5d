"""An engine with the fake runner, a clock that stands still, and a ledger of what it delivered."""

from collections import defaultdict
from typing import Any

from r3mes.engine.fake import FakeRunner, load_fake, token_at
from r3mes.engine.loop import Engine
from r3mes.engine.messages import Delivery, SamplingParams, Step, Submit, Update
from r3mes.engine.pace import Pace
from r3mes.engine.runner import Runner
from r3mes.engine.sequence import Key, Sequence
from r3mes.settings import EngineSettings, ModelSettings

FOREVER = 10_000  # steps after which an engine that is still busy will never end


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def answer(prompt: list[int], count: int, *, seed: int = 0) -> list[int]:
    """The oracle: what a sequence must get, whoever runs beside it."""
    return [token_at(seed, len(prompt) + index) for index in range(count)]


class Eager(Pace):
    """Believes that one more token costs nothing, whatever is measured."""

    def record(self, *, seconds: float, rows: int, prompt: int) -> None:
        pass


def eager(most: int = 64) -> Pace:
    return Eager(most, _steps=dict.fromkeys(range(1, 12), 1.0))


def sequence(
    prompt: list[int],
    *,
    stream: int = 0,
    queued: float = 0.0,
    limit: int = 256,
    **wishes: Any,
) -> Sequence:
    params = SamplingParams(**{"max_tokens": 8, **wishes})
    most = min(params.max_tokens, limit - len(prompt))
    return Sequence(("w", stream), f"r{stream}", prompt, params, float("inf"), queued, most)


class Ledger:
    """All news, by worker and stream, in the order of delivery."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, Delivery]] = []
        self.updates: dict[Key, list[Update]] = defaultdict(list)

    def take(self, worker: str, delivery: Delivery) -> None:
        self.deliveries.append((worker, delivery))
        for update in delivery.updates:
            self.updates[worker, update.stream].append(update)

    def ids(self, stream: int, *, worker: str = "w") -> list[int]:
        return [id for update in self.updates[worker, stream] for id in update.ids]

    def last(self, stream: int, *, worker: str = "w") -> Update:
        return self.updates[worker, stream][-1]


class FakeEngine:
    """The real Engine with its surroundings; `engine` keywords are EngineSettings."""

    def __init__(
        self,
        *,
        runner: Runner | None = None,
        max_len: int = 256,
        pace: Pace | None = None,
        ahead: bool = False,
        **settings: Any,
    ) -> None:
        chosen = EngineSettings(
            **{"runner": "fake", "block_size": 4, "kv_blocks": 64, "chunk_tokens": 16, **settings}
        )
        model, fake = load_fake(ModelSettings(max_len=max_len), chosen)
        fake.ahead = ahead
        self.clock = ManualClock()
        self.ledger = Ledger()
        self.steps: list[Step] = []
        self.began: dict[Key, int] = {}  # the pass that made a stream's first id
        self.gone: set[str] = set()  # workers that no delivery reaches
        self.runner: Runner | FakeRunner = runner or fake
        self.lag = int(self.runner.ahead)  # steps from a batch's launch to its news
        self.engine = Engine(
            self.runner,
            model=model,
            settings=chosen,
            clock=self.clock,
            deliver=self._deliver,
            on_step=self.steps.append,
            pace=pace,
        )

    def submit(
        self,
        stream: int,
        prompt: list[int],
        *,
        worker: str = "w",
        deadline: float | None = None,
        **wishes: Any,
    ) -> None:
        params = SamplingParams(**{"max_tokens": 8, **wishes})
        self.engine.submit(worker, Submit(stream, f"r{stream}", prompt, params, deadline))

    def request(self, streams: list[int], prompt: list[int]) -> None:
        """One request of several choices."""
        params = SamplingParams(max_tokens=8)
        self.engine.submit("w", *(Submit(each, "r", prompt, params, None) for each in streams))

    def _deliver(self, worker: str, delivery: Delivery) -> None:
        if worker in self.gone:
            self.engine.abort_worker(worker)
            return
        self.ledger.take(worker, delivery)
        for update in delivery.updates:
            if update.ids:
                self.began.setdefault((worker, update.stream), len(self.steps))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.engine.step()
            self.engine.check()

    def finish(self) -> None:
        """Step until nothing is left; then every block must be back."""
        for _ in range(FOREVER):
            if not self.engine.busy:
                break
            self.step()
        assert not self.engine.busy
        self.step()  # for the snapshot, should the last event have been an abort
        assert 0 == self.engine.stats.blocks_used
