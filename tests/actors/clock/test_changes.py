"""Changes of the clocks are told once, in order, whatever the batches, and after a crash."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.clock.changes import ChangesActor, ChangesFold, ClockChanged
from tickloom.config.sessions import Transition
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS, Trades
from tickloom.messages.reports import FeedState
from tickloom.supervision import ChildSpec, SupervisorSpec
from tickloom.supervision.testing import Dispatcher, FaultPlan

ZONES = {
    "north": ZoneInfo("America/Chicago"),
    "also north": ZoneInfo("America/Chicago"),
    "south": ZoneInfo("Australia/Sydney"),
    "never": ZoneInfo("UTC"),
}
YEAR = 2025
FROM = int(dt.datetime(YEAR, 1, 1, tzinfo=dt.UTC).timestamp())
HOUR = 3600


def known() -> list[tuple[int, str, int]]:
    """The changes of a year by looking at every quarter of an hour: (moment, zone, hours by which the clock went)."""
    found = []
    for zone in {zone.key: zone for zone in ZONES.values()}.values():
        before = None
        for second in range(FROM, FROM + 365 * 24 * HOUR, 900):
            offset = dt.datetime.fromtimestamp(second, zone).utcoffset()
            assert offset is not None
            if before is not None and offset != before:
                found.append((second * NS, zone.key, (offset - before) // dt.timedelta(hours=1)))
            before = offset
    return sorted(found)


KNOWN = known()


def states(stamps: list[tuple[str, int]]) -> list[FeedState]:
    return [FeedState(((contract, second * NS, second * NS),)) for contract, second in stamps]


def told(transitions: list[Transition]) -> list[tuple[int, str, int]]:
    return [(each.ts_ns, each.zone, (each.after - each.before) // HOUR) for each in transitions]


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ZONES)), st.integers(FROM, FROM + 364 * 24 * HOUR)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_each_change_between_the_first_and_the_newest_print_of_a_zone_is_told_once(stamps, cuts):
    fold = ChangesFold(ZONES.__getitem__)
    state, outputs = fold.initial(), []
    bounds = sorted({0, *cuts, len(stamps)})
    for start, stop in pairwise(bounds):
        state, out = fold.step(state, states(stamps[start:stop]))
        outputs += out
    assert sorted(told(outputs)) == passed(stamps)


def passed(stamps: list[tuple[str, int]]) -> list[tuple[int, str, int]]:
    """The changes of each zone between the first print of it that arrived and the newest."""
    expected = []
    for zone in {zone.key for zone in ZONES.values()}:
        seen = [second for contract, second in stamps if ZONES[contract].key == zone]
        if seen:
            expected += [each for each in KNOWN if each[1] == zone and seen[0] * NS < each[0] <= max(seen) * NS]
    return sorted(expected)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ZONES)), st.integers(FROM, FROM + 364 * 24 * HOUR)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
    st.booleans(),
)
def test_prints_without_a_beat_tell_the_same_changes_however_they_are_cut(stamps, cuts, arrays):
    outputs = []
    fold = ChangesFold(ZONES.__getitem__)
    state = fold.initial()
    for start, stop in pairwise(sorted({0, *cuts, len(stamps)})):
        items = []
        for contract in sorted({contract for contract, _ in stamps[start:stop]}):
            rows = [
                (n, second * NS) for n, (name, second) in enumerate(stamps[:stop]) if n >= start and name == contract
            ]
            ticks, ts = zip(*rows, strict=True)
            columns = [list(ts), [1] * len(ts), [1] * len(ts), [2] * len(ts), list(ticks)]
            items.append(Trades(contract, *(np.array(each, np.int64) for each in columns) if arrays else columns))
        state, out = fold.step(state, [Validated(stop, tuple(items))])
        outputs += out
    assert sorted(told(outputs)) == passed(stamps)


def test_the_year_has_the_changes_that_the_public_has():
    assert [(zone, hours) for _, zone, hours in KNOWN] == [
        ("America/Chicago", 1),
        ("Australia/Sydney", -1),
        ("Australia/Sydney", 1),
        ("America/Chicago", -1),
    ]


def stepped(faults: FaultPlan | None = None) -> tuple[Dispatcher, Any]:
    dispatcher = Dispatcher(seed=1)
    child = ChildSpec("changes", lambda context: ChangesActor(context, ChangesFold(ZONES.__getitem__)))
    tree = dispatcher.tree(SupervisorSpec(children=(child,)), faults=faults)
    tree.start()
    return dispatcher, tree


@pytest.mark.parametrize("point", ["before_fold", "after_fold", "before_commit", "after_commit", "on_emit"])
def test_a_crash_tells_none_twice_and_leaves_none_out(point):
    faults = FaultPlan()
    faults.crash("/changes", point, nth=1 if point == "on_emit" else 2)
    dispatcher, tree = stepped(faults)
    autumn = int(dt.datetime(YEAR, 11, 2, 7, tzinfo=dt.UTC).timestamp())
    for state in states([("north", autumn - 60), ("also north", autumn + 60), ("north", autumn + 120)]):
        tree.ref("/changes").offer(state)
        dispatcher.run()
        dispatcher.clock.advance(60)
        dispatcher.run()
    assert faults.crashes == 1
    (change,) = [event for event in tree.events() if isinstance(event, ClockChanged)]
    assert change.path == "/changes"
    assert change.words == (
        "the clock of America/Chicago went back 60 min at 2025-11-02 02:00:00 local (2025-11-02T07:00:00Z)"
    )
    tree.stop("now")
