"""The heartbeat: at once when the phase changes, else no more often than it must be."""

from r3mes.engine.heart import Heart
from r3mes.engine.messages import EngineReport, EngineStats, Step
from support.engine import ManualClock

STEP = Step("decode", 0.01, 1)


class Listener:
    def __init__(self) -> None:
        self.reports: list[EngineReport] = []
        self.full = False

    def __call__(self, report: EngineReport) -> bool:
        if not self.full:
            self.reports.append(report)
        return not self.full


def heart() -> tuple[Heart, Listener, ManualClock]:
    listener, clock = Listener(), ManualClock()
    return Heart(listener, clock=clock), listener, clock


def test_a_change_of_phase_is_reported_at_once() -> None:
    beating, listener, _ = heart()
    beating.enter("loading", "weights")
    beating.enter("ready", "serving")

    assert [("loading", 0.0, "weights"), ("ready", 1.0, "serving")] == [
        (report.phase, report.progress, report.detail) for report in listener.reports
    ]


def test_an_idle_engine_reports_twice_a_second() -> None:
    beating, listener, clock = heart()
    for clock.now in (0.25, 0.5, 0.75, 1.0):
        beating.beat_if_due()

    assert [0.5, 1.0] == [report.at for report in listener.reports]


def test_steps_are_reported_within_50_ms_and_together() -> None:
    beating, listener, clock = heart()
    for clock.now in (0.01, 0.02, 0.05):
        beating.record(STEP)
        beating.beat_if_due()

    assert [(0.05, [STEP] * 3)] == [(report.at, report.steps) for report in listener.reports]


def test_a_changed_snapshot_is_news_though_no_step_was_made() -> None:
    beating, listener, clock = heart()
    beating.stats = EngineStats(aborts={"client": 1})
    for clock.now in (0.05, 0.1):
        beating.beat_if_due()

    assert [0.05] == [report.at for report in listener.reports]


def test_no_step_is_reported_twice() -> None:
    beating, listener, _ = heart()
    beating.record(STEP)
    beating.beat()
    beating.beat()

    assert [[STEP], []] == [report.steps for report in listener.reports]


def test_steps_that_could_not_leave_go_with_the_next_report() -> None:
    beating, listener, _ = heart()
    beating.record(STEP)
    listener.full = True
    beating.beat()
    listener.full = False
    beating.record(STEP)
    beating.beat()

    assert [[STEP, STEP]] == [report.steps for report in listener.reports]


def test_progress_is_not_reported_more_often_than_every_50_ms() -> None:
    beating, listener, clock = heart()
    for clock.now in (0.04, 0.06, 0.08):
        beating.advance(clock.now, "loading")

    assert [0.06] == [report.progress for report in listener.reports]


def test_the_slowest_step_of_the_warm_up_is_told_and_none_of_them_is_counted() -> None:
    beating, listener, _ = heart()
    for seconds in (0.2, 7.0, 0.1):
        beating.warmed(Step("prefill", seconds, 512))
    beating.beat()

    assert [(7.0, [])] == [(report.slowest_step, report.steps) for report in listener.reports]


def test_served_steps_raise_the_slowest_but_one_long_halt_only_doubles_it() -> None:
    beating, listener, _ = heart()
    beating.warmed(Step("prefill", 2.0, 512))
    for seconds in (3.0, 1.0, 500.0):
        beating.record(Step("prefill", seconds, 512))
        beating.beat()

    assert [3.0, 3.0, 6.0] == [report.slowest_step for report in listener.reports]


def test_phases_tell_how_long_they_took() -> None:
    beating, listener, _ = heart()
    beating.took("load", 2.0)
    beating.beat()
    beating.took("warm", 1.0)

    assert {"load": 2.0} == listener.reports[0].phase_seconds
