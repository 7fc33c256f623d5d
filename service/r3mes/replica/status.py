"""What the supervisor knows of its replica, and the one phase that follows from it.

Pure: reports and events go in, a frozen `ReplicaState` comes out. Knows no socket and no process.
"""

from dataclasses import dataclass, field

from r3mes.engine.messages import EngineReport, EngineStats, Phase, ReplicaState

NO_STATS = EngineStats()


@dataclass
class Status:
    """Owned by the hub. `wanted` is the number of API workers that must be ready once."""

    wanted: int
    started: float
    started_at: int  # seconds since the epoch
    report: EngineReport | None = None
    ready_workers: int = 0
    was_ready: bool = False
    draining: bool = False
    lingering: bool = False
    cut: bool = False
    failure: str | None = field(default=None)

    def settle(self) -> None:
        """Note the first time that all was ready; a worker replaced later changes nothing."""
        engine_ready = self.report is not None and self.report.phase == "ready"
        if engine_ready and self.ready_workers >= self.wanted:
            self.was_ready = True

    @property
    def closed(self) -> bool:
        """No new request is taken any more."""
        return self.failure is not None or (self.draining and not self.lingering)

    def where(self) -> tuple[Phase, float, str]:
        """Phase, progress within it and a line for people."""
        report = self.report
        if self.failure is not None:
            return "failed", 0.0, self.failure
        if self.draining:
            return "draining", 0.0, "finishing what was accepted"
        if report is None:
            return "starting", 0.0, "the engine process starts"
        if report.phase == "ready" and not self.was_ready:
            return "warming", 1.0, "the API workers answer for the first time"
        return report.phase, report.progress, report.detail

    def state(self) -> ReplicaState:
        report = self.report
        phase, progress, detail = self.where()
        return ReplicaState(
            phase=phase,
            progress=progress,
            detail=detail,
            started=self.started,
            started_at=self.started_at,
            heartbeat=report.at if report else self.started,
            lingering=self.lingering,
            cut=self.cut,
            model=report.model if report else None,
            warm_ttft=report.warm_ttft if report else None,
            stats=report.stats if report else NO_STATS,
            phase_seconds=report.phase_seconds if report else {},
            slowest_step=report.slowest_step if report else 0.0,
        )
