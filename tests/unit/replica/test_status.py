"""The one phase that follows from what the supervisor knows."""

import pytest

from r3mes.engine.messages import EngineReport, EngineStats, Phase
from r3mes.replica.status import Status


def report(phase: Phase) -> EngineReport:
    return EngineReport(
        at=1.0,
        phase=phase,
        progress=0.5,
        detail="as the engine says",
        stats=EngineStats(running=1),
        steps=[],
        phase_seconds={},
        model=None,
        warm_ttft=None,
        slowest_step=7.5,
    )


def status(*, engine: Phase | None, ready_workers: int = 2) -> Status:
    told = None if engine is None else report(engine)
    made = Status(wanted=2, started=0.0, started_at=0, report=told, ready_workers=ready_workers)
    made.settle()
    return made


@pytest.mark.parametrize(
    ("engine", "ready_workers", "phase"),
    [
        (None, 2, "starting"),
        ("loading", 2, "loading"),
        ("warming", 2, "warming"),
        ("ready", 1, "warming"),
        ("ready", 2, "ready"),
        ("failed", 2, "failed"),
    ],
)
def test_a_replica_is_ready_when_the_engine_and_every_worker_are(
    engine: Phase | None, ready_workers: int, phase: Phase
) -> None:
    assert phase == status(engine=engine, ready_workers=ready_workers).state().phase


def test_a_worker_that_is_replaced_later_does_not_end_readiness() -> None:
    seen = status(engine="ready")
    seen.ready_workers = 1
    seen.settle()

    assert "ready" == seen.state().phase


def test_a_drain_hides_what_the_engine_says_and_a_failure_hides_both() -> None:
    seen = status(engine="ready")

    seen.draining = True
    assert "draining" == seen.state().phase
    seen.failure = "the reason"
    assert ("failed", "the reason") == (seen.state().phase, seen.state().detail)


def test_the_state_tells_when_the_engine_was_last_heard_and_how_long_a_step_can_take() -> None:
    state = status(engine="ready").state()

    assert (1.0, 7.5) == (state.heartbeat, state.slowest_step)
