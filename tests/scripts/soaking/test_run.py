"""A short soak: ten virtual minutes with everything that goes wrong in two days. And soaks that must not pass."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tickloom.actors.clock.changes import ClockChanged
from tickloom.config.sessions import Transition
from tickloom.scripts.soaking.market import Chunk
from tickloom.scripts.soaking.run import Soak
from tickloom.scripts.soaking.truth import Truth
from tickloom.supervision import Event
from tickloom.wiring import FINEST, VALIDATION

TEN_MINUTES = 1 / 6
CLOCK_CHANGE = "the clock of America/Chicago went back 60 min at 2025-11-02 02:00:00 local (2025-11-02T07:00:00Z)"


def _note(event: Event, changes: list[Transition]) -> None:
    if isinstance(event, ClockChanged):
        changes.append(event.transition)


@pytest.mark.parametrize("crew", [False, True], ids=["a thread for each", "crews"])
def test_ten_minutes_of_everything_leave_every_bar_right_and_every_print_accounted_for(
    tmp_path: Path, crew: bool
) -> None:
    soak = Soak(tmp_path, hours=TEN_MINUTES, rate=2000, seed=11, crew=crew)
    changes: list[Transition] = []
    soak._engine.tree.subscribe(lambda event: _note(event, changes))
    report = soak.run()
    assert report.failures == ()
    assert report.complete
    assert report.clock_changed
    assert [str(change) for change in changes] == [CLOCK_CHANGE], "told once, whatever crashed"
    assert report.ticks > 1_000_000
    assert report.bars > 1500
    assert set(report.bars_compared.values()) == {report.bars}
    assert report.crashes >= 14, "every actor of the flow once"
    assert report.restarts >= report.crashes
    assert set(report.troubles) == {"outage", "renewal", "burst", "trickle", "move", "malformed"}
    assert len(report.rejected) == 9
    assert report.gaps == report.troubles["outage"]
    assert report.strays > 20
    assert report.subscriber_dropped > 0, "the subscriber that never reads gave way"
    assert (report.lost, report.quarantined, report.deadlocks) == (0, 0, 0)


def test_a_bar_that_is_off_by_one_tick_is_found(tmp_path: Path) -> None:
    soak = Soak(tmp_path, hours=0.04, rate=500)
    soak.truth = _Mistaken(soak.truth)
    report = soak.run()
    assert len(report.failures) >= 2, "its seconds, and the bars made of them"
    assert any("digest" in words for words in report.failures)
    assert any("differs in" in words and "high" in words for words in report.failures)


def test_a_print_that_went_missing_is_found(tmp_path: Path) -> None:
    soak = Soak(tmp_path, hours=0.04, rate=500)
    soak.plan.call(VALIDATION, "before_fold", lambda: _lose(soak), nth=9)
    report = soak.run()
    assert any("validation received" in words for words in report.failures)
    assert report.lost == 1


def test_an_actor_that_hangs_is_a_deadlock_that_is_told(tmp_path: Path) -> None:
    soak = Soak(tmp_path, hours=0.04, rate=500, stall_s=0.5)
    release = threading.Event()
    soak.plan.call(FINEST, "before_fold", lambda: release.wait(3.0) and None, nth=6)
    report = soak.run()
    assert report.deadlocks == 1
    assert not report.complete
    assert any("rest" in words or "took nothing" in words for words in report.failures)


def test_a_soak_that_is_broken_off_says_how_far_it_came(tmp_path: Path) -> None:
    shares: list[float] = []
    soak = Soak(
        tmp_path, hours=0.1, rate=500, progress=lambda each: shares.append(each.share), cancelled=lambda: bool(shares)
    )
    report = soak.run()
    assert not report.complete
    assert report.failures == ()
    assert 0 < report.hours < 0.1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_days_at_ten_thousand_ticks_a_second(tmp_path: Path) -> None:
    report = Soak(tmp_path).run()
    assert report.failures == ()
    assert report.ticks > 1_700_000_000
    assert report.memory_mb.change_percent is not None
    assert abs(report.memory_mb.change_percent) < 5


class _Mistaken(Truth):
    """A truth that has one high wrong by a tick."""

    def __init__(self, truth: Truth) -> None:
        self.__dict__ = truth.__dict__
        self._count = 0

    def add(self, chunk: Chunk) -> None:
        self._count += 1
        if self._count == 5:
            own = chunk.own[0]
            price = own.price.copy()
            price[price.argmax()] += 1
            chunk.own[0] = own._replace(price=price)
        super().add(chunk)


def _lose(soak: Soak) -> None:
    soak.truth.prints += 1
