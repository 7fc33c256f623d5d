"""The engine's heartbeat: what it reports of itself to the supervisor, and when.

Owns phase, progress and the steps that were not reported yet. Knows no sockets.
"""

from collections.abc import Callable

from r3mes.engine.messages import EngineReport, EngineStats, ModelInfo, Phase, Step

IDLE_S = 0.5
BUSY_S = 0.05
MOST_GROWTH = 2  # of the slowest step, from one to the next


class Heart:
    """`send` returns False when a report could not leave; its steps then go with the next."""

    def __init__(self, send: Callable[[EngineReport], bool], *, clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self._phase: Phase = "starting"
        self._progress = 0.0
        self._detail = ""
        self._steps: list[Step] = []
        self._last = clock()
        self.stats = self._told = EngineStats()
        self.model: ModelInfo | None = None
        self._phase_seconds: dict[str, float] = {}
        self.warm_ttft: float | None = None
        self._slowest_step = 0.0

    def enter(self, phase: Phase, detail: str) -> None:
        """A new phase, reported at once."""
        self._phase = phase
        self._progress = 1.0 if phase == "ready" else 0.0
        self._detail = detail
        self.beat()

    def advance(self, progress: float, detail: str) -> None:
        """Progress within the phase, reported as often as steps are."""
        self._progress = progress
        self._detail = detail
        if self._clock() >= self._last + BUSY_S:
            self.beat()

    def found(self, model: ModelInfo) -> None:
        """The model's folder is known: reported at once, for the workers to begin with it."""
        self.model = model
        self.beat()

    def took(self, phase: str, seconds: float) -> None:
        self._phase_seconds[phase] = seconds

    def warmed(self, step: Step) -> None:
        """A step of the warm-up: not served to anybody, but so long a step can take here."""
        self._slowest_step = max(self._slowest_step, step.seconds)
        self.beat_if_due()

    def record(self, step: Step) -> None:
        """A served step. A longer context takes longer, but a stop of the machine is no step."""
        known = self._slowest_step
        self._slowest_step = max(known, min(step.seconds, MOST_GROWTH * known))
        self._steps.append(step)

    @property
    def due(self) -> float:
        """When the next report must leave: soon with news, later if only to be seen alive."""
        news = self._steps or self.stats != self._told
        return self._last + (BUSY_S if news else IDLE_S)

    def beat_if_due(self) -> None:
        if self._clock() >= self.due:
            self.beat()

    def beat(self) -> None:
        self._last = self._clock()
        report = EngineReport(
            at=self._last,
            phase=self._phase,
            progress=self._progress,
            detail=self._detail,
            stats=self.stats,
            steps=self._steps,
            phase_seconds=dict(self._phase_seconds),
            model=self.model,
            warm_ttft=self.warm_ttft,
            slowest_step=self._slowest_step,
        )
        if self._send(report):
            self._steps = []
            self._told = self.stats
