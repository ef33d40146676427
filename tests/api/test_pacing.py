"""A replay's pace, by a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tickloom.messages.control import Beat, SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Prints, as_list
from tickloom.pacing import RECORD_S, paced

BEGIN = 1_763_735_400 * NS


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 500.0
        self.longest = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        self.now += seconds


def frames(seq: int, *after_s: float) -> Numbered:
    """An item of frames with a print each, received so many seconds after the beginning."""
    count = len(after_s)
    received = np.array([BEGIN + round(s * NS) for s in after_s])
    zeros = np.zeros(count, np.int64)
    prints = Prints(("X",), zeros, received, zeros + 1.0, zeros + 1, zeros, np.arange(count), seq)
    return Numbered(seq, Frames("import", received, zeros, None, prints))


def play(items: Iterable[Numbered], speed: float, clock: Clock) -> list[tuple[float, Numbered]]:
    """What comes, and how long after the beginning."""
    begin = clock.now
    found = paced(items, speed, lambda: False, monotonic=clock.monotonic, sleep=clock.sleep)
    return [(round(clock.now - begin, 9), numbered) for numbered in found]


@pytest.mark.parametrize("speed", [0.5, 1.0, 60.0])
def test_frames_come_when_they_are_due(speed: float) -> None:
    played = play([frames(1, 0.0), frames(2, 10.0), frames(3, 12.5)], speed, Clock())
    assert [at for at, _ in played] == [0.0, pytest.approx(10 / speed), pytest.approx(12.5 / speed)]


def test_a_long_run_of_frames_is_parted_where_time_passed_and_nothing_of_it_is_lost() -> None:
    run = frames(7, 0.0, 0.01, 0.2, 0.21, 3600.0)
    played = play([run], 1.0, Clock())
    assert [at for at, _ in played] == [0.0, pytest.approx(0.2), pytest.approx(3600.0)]
    assert [(part.seq, len(part.item)) for _, part in played] == [(7, 2), (9, 2), (11, 1)]
    assert isinstance(run.item, Frames)
    assert [t for _, part in played for t in as_list(part.item.prints.ts_ns)] == as_list(run.item.prints.ts_ns)
    assert [part.item.prints.first_tick for _, part in played] == [7, 9, 11]


def test_the_first_frames_are_not_waited_for_and_the_last_beat_not_for_long() -> None:
    start = SessionStarted(recv_ns=BEGIN - 3600 * NS, version="", settings={}, instruments=(), timeframes=())
    midnight = Beat(recv_ns=BEGIN + 36_000 * NS)
    played = play([Numbered(1, start), frames(2, 0.0), Numbered(3, midnight)], 1.0, Clock())
    assert [at for at, _ in played] == [0.0, 0.0, pytest.approx(RECORD_S)]


def test_a_wall_clock_that_was_set_back_holds_nothing_up() -> None:
    played = play([frames(1, 0.0), frames(2, -30.0), frames(3, 2.0)], 1.0, Clock())
    assert [at for at, _ in played] == [0.0, 0.0, pytest.approx(2.0)]


def test_a_wait_is_given_up_when_asked_to() -> None:
    clock = Clock()
    items = paced(
        [frames(1, 0.0), frames(2, 36_000.0)],
        1.0,
        lambda: clock.now > 501.0,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    assert [numbered.seq for numbered in items] == [1, 2]
    assert clock.now < 502.0
    assert clock.longest <= 0.1


def test_after_time_stood_what_comes_next_is_due_at_once_and_the_rest_follows_from_it() -> None:
    clock = Clock()
    stood = iter([False, True, False])  # asked before the second, third and fourth
    items = [frames(1, 0.0), frames(2, 10.0), frames(3, 500.0), frames(4, 501.0)]
    found = paced(items, 1.0, lambda: False, anew=lambda: next(stood), monotonic=clock.monotonic, sleep=clock.sleep)
    assert [round(clock.now - 500.0, 9) for _ in found] == [0.0, 10.0, 10.0, 11.0]
