from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.overlap import Overlap
from tickloom.messages.intake import Frames
from tickloom.messages.market import Depth, DepthLevel, Prints, Quote

OLD, NEW = "market/1", "market/2"
Tick = tuple[str, int, float, int, int]


def prints(ticks: list[Tick], arrays: bool = False) -> Prints:
    names = tuple(dict.fromkeys(tick[0] for tick in ticks))
    columns = [
        [names.index(t[0]) for t in ticks], [t[1] for t in ticks], [t[2] for t in ticks],
        [t[3] for t in ticks], [t[4] for t in ticks], [0] * len(ticks),
    ]  # fmt: skip
    if arrays:
        columns = [np.array(c, dtype=np.float64 if i == 2 else np.int64) for i, c in enumerate(columns)]
    return Prints(names, *columns, 0)


def passed(overlap: Overlap, source: str, ticks: list[Tick], arrays: bool = False) -> list[Tick]:
    kept = overlap.admit(source, prints(ticks, arrays))
    return ticks if kept is None else [ticks[row] for row in kept]


@st.composite
def streams(draw: st.DrawFn, lateness: int) -> list[Tick]:
    """A stream with many equal prints; a stamp is at most `lateness` behind the newest before it."""
    newest, ticks = 0, []
    for step in draw(st.lists(st.integers(-lateness, 3), min_size=1, max_size=60)):
        ts = max(newest + step, 0)
        newest = max(newest, ts)
        ticks.append(("C", ts, float(draw(st.integers(0, 1))), 1, draw(st.integers(0, 1))))
    return ticks


@pytest.mark.parametrize("lateness", [0, 3])
@given(data=st.data())
def test_no_print_is_lost_and_none_comes_twice_under_any_interleaving(lateness, data):
    truth = data.draw(streams(lateness))
    begin = data.draw(st.integers(0, len(truth)))
    overlap = Overlap(OLD, NEW, lateness)
    old, new, out = truth, truth[begin:], []
    i = j = 0
    # the old connection delivers until it is let go, some time after the two are aligned; the new one lags or leads
    over = False
    while True:
        moves = ["old"] * (i < len(old) and not over) + ["new"] * (j < len(new))
        if not over and overlap.aligned("C"):
            moves.append("let go")
        if not moves:
            break
        move = data.draw(st.sampled_from(moves))
        size = data.draw(st.integers(1, 5))
        arrays = data.draw(st.booleans())
        if move == "old":
            out += passed(overlap, OLD, old[i : i + size], arrays)
            i = min(i + size, len(old))
        elif move == "new":
            out += passed(overlap, NEW, new[j : j + size], arrays)
            j = min(j + size, len(new))
        else:
            overlap.end(OLD)
            over = True
    assert Counter(out) == Counter(truth)


@given(streams(0), st.data())
def test_an_old_connection_that_breaks_off_after_the_new_one_began_loses_nothing(truth, data):
    # stamps differ, so that no equal prints can lie on both sides of the overlap
    truth = [(name, 10 * n, price, size, side) for n, (name, _, price, size, side) in enumerate(truth)]
    begin = data.draw(st.integers(0, len(truth) - 1))
    end = data.draw(st.integers(begin + 1, len(truth)))
    overlap, out = Overlap(OLD, NEW, 0), []
    out += passed(overlap, OLD, truth[:begin])
    if data.draw(st.booleans()):
        out += passed(overlap, NEW, truth[begin:])
        out += passed(overlap, OLD, truth[begin:end])
    else:
        out += passed(overlap, OLD, truth[begin:end])
        out += passed(overlap, NEW, truth[begin : begin + 1])
        assert overlap.covered("C")
        overlap.end(OLD)
        out += passed(overlap, NEW, truth[begin + 1 :])
    assert Counter(out) == Counter(truth)


@given(streams(0), st.data())
def test_a_new_connection_that_fails_leaves_no_trace(truth, data):
    overlap, out = Overlap(OLD, NEW, 0), []
    ahead = data.draw(st.integers(0, len(truth)))
    begin = data.draw(st.integers(0, ahead))
    out += passed(overlap, OLD, truth[:begin])
    out += passed(overlap, NEW, truth[begin:ahead])
    overlap.end(NEW)
    out += passed(overlap, OLD, truth[begin:])
    assert Counter(out) == Counter(truth)


def test_what_neither_delivered_is_not_covered():
    overlap = Overlap(OLD, NEW, 0)
    passed(overlap, OLD, [("C", 1, 1.0, 1, 0)])
    assert not overlap.covered("C")
    passed(overlap, NEW, [("C", 5, 1.0, 1, 0)])
    assert not overlap.covered("C")
    assert overlap.bounds("C") == (1, 5)
    passed(overlap, OLD, [("C", 5, 1.0, 1, 0)])
    assert overlap.covered("C")


def test_it_is_aligned_only_when_the_old_one_is_beyond_the_new_one_s_first_by_twice_the_lateness():
    overlap = Overlap(OLD, NEW, 10)
    passed(overlap, NEW, [("C", 100, 1.0, 1, 0)])
    passed(overlap, OLD, [("C", 120, 1.0, 1, 0)])
    assert not overlap.aligned("C")
    passed(overlap, OLD, [("C", 121, 1.0, 1, 0)])
    assert overlap.aligned("C")
    assert not overlap.aligned("D")


def test_it_is_done_when_the_new_one_is_past_everything_the_old_one_delivered():
    overlap = Overlap(OLD, NEW, 5)
    passed(overlap, OLD, [("C", 100, 1.0, 1, 0)])
    overlap.end(OLD)
    assert not overlap.done
    assert passed(overlap, NEW, [("C", 100, 1.0, 1, 0)]) == []
    passed(overlap, NEW, [("C", 105, 1.0, 1, 0)])
    assert not overlap.done
    passed(overlap, NEW, [("C", 106, 1.0, 1, 0)])
    assert overlap.done
    assert overlap.repeated == 1


def test_prints_without_a_price_are_counted_as_equal():
    overlap = Overlap(OLD, NEW, 0)
    assert len(passed(overlap, OLD, [("C", 1, float("nan"), 1, 0)])) == 1
    assert len(passed(overlap, NEW, [("C", 1, float("nan"), 1, 0)])) == 0


def test_a_long_overlap_holds_only_what_one_connection_is_ahead_of_the_other():
    overlap = Overlap(OLD, NEW, 100)
    for start in range(0, 200_000, 500):
        ticks = [("C", ts, 1.0, 1, 0) for ts in range(start, start + 500)]
        assert passed(overlap, OLD, ticks) == ticks
        assert passed(overlap, NEW, ticks) == []
    assert len(overlap._counts) < 10_000


def test_a_third_connection_takes_no_part():
    with pytest.raises(ValueError, match="market/3"):
        Overlap(OLD, NEW).admit("market/3", prints([("C", 1, 1.0, 1, 0)]))


def frames(source: str, quotes=(), depth=(), events=()) -> Frames:
    return Frames(source, [0], [0], None, None, tuple(quotes), tuple(depth), (), tuple(events))


def test_a_quote_older_than_one_passed_on_is_left_out():
    overlap = Overlap(OLD, NEW)
    assert overlap.filtered(frames(OLD, quotes=[(0, Quote("C", 10, bid=1.0))])).quotes
    assert not overlap.filtered(frames(NEW, quotes=[(0, Quote("C", 9, bid=2.0))])).quotes
    assert overlap.filtered(frames(NEW, quotes=[(0, Quote("C", 10, bid=1.0))])).quotes
    assert overlap.filtered(frames(NEW, quotes=[(0, Quote("D", 1, bid=1.0))])).quotes


def test_a_book_is_the_old_one_s_until_the_new_one_s_snapshot_came():
    overlap = Overlap(OLD, NEW)
    change, reset = DepthLevel(1, 1, 5.0, 1, 1), DepthLevel(2, 6, 0.0, 0, 0)
    assert overlap.filtered(frames(OLD, depth=[(0, Depth("C", (change,)))])).depth
    assert not overlap.filtered(frames(NEW, depth=[(0, Depth("C", (change,)))])).depth
    assert overlap.filtered(frames(NEW, depth=[(0, Depth("C", (reset, change)))])).depth
    assert not overlap.filtered(frames(OLD, depth=[(0, Depth("C", (change,)))])).depth
    assert overlap.filtered(frames(NEW, depth=[(0, Depth("C", (change,)))])).depth
    assert overlap.filtered(frames(OLD, depth=[(0, Depth("D", (change,)))])).depth
    overlap.end(OLD)
    assert overlap.filtered(frames(NEW, depth=[(0, Depth("D", (change,)))])).depth


def test_events_of_the_user_hub_come_once_and_what_is_left_out_is_told():
    overlap = Overlap(OLD, NEW)
    event = (0, "GatewayUserOrder", b'{"id":1}')
    assert overlap.filtered(frames(OLD, events=[event, event])).events == (event, event)
    again = overlap.filtered(frames(NEW, events=[event, event, event]))
    assert again.events == (event,)
    assert [(m.reason, m.prints) for m in again.malformed] == [("overlap", 0)]
