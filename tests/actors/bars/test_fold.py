from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tickloom.actors.bars.deltas import LIMIT, BarOverflowError, to_columns
from tickloom.actors.bars.digest import LINK_ROWS, combine_digests
from tickloom.actors.bars.fold import TimeframeFold, TimeframeState
from tickloom.actors.bars.marks import MAX_MARKS
from tickloom.actors.bars.quick import follow
from tickloom.actors.bars.reduce import ReduceFold
from tickloom.actors.bars.weave import MAX_FLATS
from tickloom.actors.shell import prints_in
from tickloom.config.buckets import rule_for
from tickloom.config.calendars import calendar_from
from tickloom.messages.bars import BarFlag, Bars, Delta, Mark, Reduced
from tickloom.messages.control import Beat, Gap, Midway, SessionStopped
from tickloom.messages.intake import Validated
from tickloom.messages.market import NS

T0 = 1_700_000_000 * NS - 1_700_000_000 * NS % (3600 * NS)
WIDTHS = {"1s": NS, "5s": 5 * NS, "1m": 60 * NS, "1h": 3600 * NS}
SLOW = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def markets(draw: st.DrawFn, stop: bool = True) -> tuple[list[Any], int, int]:
    """Trades of two contracts, mostly in order, with beats and gaps between; a grace and a lateness."""
    grace = draw(st.sampled_from([0, 300_000_000, NS, 3 * NS]))
    lateness = draw(st.sampled_from([0, 2 * NS, 10 * NS, 90 * NS]))
    move = st.tuples(
        st.sampled_from("ttttttttttbg"),
        st.sampled_from("AB"),
        st.sampled_from([0, 0, 0, 1, 500_000_000, NS, 2 * NS, 7 * NS, 61 * NS]),
        st.sampled_from([0, 0, 0, 0, 1, 900_000_000, 2 * NS, 6 * NS, 40 * NS, 100 * NS]),
        st.integers(-3, 3),
        st.integers(0, 3),
        st.integers(0, 2),
    )
    # hypothesis makes lists of about five unless told otherwise, and five trades are never late
    moves = draw(st.one_of(st.lists(move, max_size=8), st.lists(move, min_size=40, max_size=90)))
    items: list[Any] = []
    now = T0 + draw(st.integers(0, 3700)) * NS
    for number, (kind, contract, step, back, price, size, side) in enumerate(moves):
        now += step
        if kind == "t":
            items.append((contract, now - back, price, size, side, number))
        elif kind == "b":
            items.append(Beat(recv_ns=now + size * NS - back))
        else:
            items.append(
                Gap(recv_ns=now, contract=contract, from_ns=now - back, to_ns=now - back + size * 20 * NS, cause="test")
            )
    if stop:
        items.append(SessionStopped(recv_ns=now + draw(st.sampled_from([-NS, 0, NS, 30 * NS]))))
    return items, grace, lateness


@SLOW
@given(
    markets(),
    st.integers(0, 10**9),
    st.sampled_from([0, 5, 10**9]),
    st.sampled_from([1, 4, 48]),
    st.sampled_from([1, 4, 32]),
)
def test_bars_equal_the_oracle_however_the_input_is_cut_conflated_saved_and_vectorised(
    loom: Any, market: Any, seed: int, vector_rows: int, column_rows: int, bulk_rows: int
) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    whole = loom.run(items, WIDTHS, grace=grace, lateness=lateness)
    parts = loom.run(
        items,
        WIDTHS,
        grace=grace,
        lateness=lateness,
        seed=seed,
        vector_rows=vector_rows,
        column_rows=column_rows,
        bulk_rows=bulk_rows,
    )
    for name, width in WIDTHS.items():
        expected = loom.oracle(items, width, grace, lateness)
        assert loom.as_oracle(whole.bars[name]) == expected
        assert loom.as_oracle(parts.bars[name]) == expected
    assert parts.digest == whole.digest


@SLOW
@given(markets(), st.integers(1, 10**9), st.sampled_from([{}, {"updates": False}, {"touched": True}]), st.booleans())
def test_the_quick_step_is_the_step_of_the_weaver(
    loom: Any, market: Any, seed: int, told: dict[str, bool], marked: bool
) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    rng = random.Random(seed)
    for name in WIDTHS:
        fold = loom.fold(name, grace, lateness, **told)
        state = fold.initial()
        messages = loom.reduced(items, seed, grace=grace, lateness=lateness)
        if marked and messages:  # as in a live session, whose first bars are partial
            newest = max((mark for message in messages for _, mark in message.watermarks), default=T0)
            marks = tuple(Mark(contract, newest - 1, newest, int(BarFlag.PARTIAL), 0) for contract in "AB")
            messages = [Reduced(0, marks=marks), *messages]
        while messages:
            few = rng.randint(1, 3)
            batch, messages = messages[:few], messages[few:]
            quick, slow = fold.step(state, batch), fold.weave(state, batch)
            assert msgspec.to_builtins(quick[0]) == msgspec.to_builtins(slow[0])
            assert list(quick[1]) == list(slow[1])
            state = quick[0]


@SLOW
@given(markets(stop=False), st.integers(1, 10**9))
def test_open_bars_asked_for_are_those_that_would_have_been_told(loom: Any, market: Any, seed: int) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    telling, asked = loom.fold("5s", grace, lateness), loom.fold("5s", grace, lateness, touched=True)
    states = telling.initial(), asked.initial()
    for message in loom.reduced(items, seed, grace=grace, lateness=lateness):
        (one, told), (other, named) = telling.step(states[0], [message]), asked.step(states[1], [message])
        states = one, other
        updated = [bar for output in told for bar in output.updated]
        names = [name for output in named for name in output.touched]
        assert set(names) == {bar.contract for bar in updated}
        assert not any(output.updated for output in named)
        shown = asked.opened(other, names)
        assert all(bar in shown for bar in updated)
        assert asked.opened(other, ["nobody's"]) == []


def test_a_trade_into_an_open_bar_is_a_quick_step_whatever_is_marked(loom: Any) -> None:
    fold = loom.fold("1m", NS, NS)
    first, second, third = (
        Reduced(tick, (Delta("A", T0, 100 + tick, ts, tick, *[100 + tick] * 3, ts, tick, 1, 1, 100 + tick, 1, 0),))
        for tick, ts in ((1, T0), (2, T0 + 1), (3, T0 + 2))
    )
    marked = msgspec.structs.replace(first, marks=(Mark("A", T0, T0 + 1, int(BarFlag.PARTIAL), 0),))
    contracts = fold.step(fold.initial(), [marked])[0].contracts
    made = follow(fold.weaving, contracts, 0, [second, third])
    assert made is not None
    after, _, touched = made
    assert touched == {"A": [T0]}
    (bar,) = fold.opened(TimeframeState(after), touched)
    assert (bar.open, bar.close, bar.volume, bar.flags) == (101, 103, 3, BarFlag.PARTIAL)
    assert follow(fold.weaving, contracts, 0, [msgspec.structs.replace(second, stop=True)]) is None


@SLOW
@given(markets(), st.integers(0, 10**9))
def test_shards_of_contracts_give_the_bars_and_the_digest_of_the_whole(loom: Any, market: Any, seed: int) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    whole = loom.run(items, ["1s", "1m"], grace=grace, lateness=lateness)
    digests = {}
    for contract in "AB":
        own = [item for item in items if getattr(item, "contract", contract) == contract]
        digests |= loom.run(own, ["1s", "1m"], grace=grace, lateness=lateness, seed=seed).digests
    assert combine_digests(digests) == whole.digest


@SLOW
@given(
    markets(stop=False),
    st.integers(0, 10**9),
    st.sampled_from(["24/7", "pauses"]),
    st.sampled_from(["5s", "20s", "5m", "1h", "1d"]),
)
def test_flat_bars_fill_all_that_was_empty_while_the_market_traded_the_same_way_for_any_batches(
    loom: Any, market: Any, seed: int, calendar: str, frame: str
) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    items.append(SessionStopped(recv_ns=0))
    times = {"grace": grace, "lateness": lateness}
    whole = loom.run(items, [frame], **times, emit_empty=True, calendar=calendar)
    parts = loom.run(items, [frame], **times, seed=seed, emit_empty=True, calendar=calendar)
    plain = loom.run(items, [frame], **times, calendar=calendar)
    assert parts.bars == whole.bars
    assert parts.digest == whole.digest
    full = [bar for bar in whole.bars[frame] if not bar.flags & BarFlag.EMPTY]
    assert full == plain.bars[frame]
    flats = [bar for bar in whole.bars[frame] if bar.flags & BarFlag.EMPTY]
    assert {(bar.contract, bar.open_time): (bar.close_time, bar.close) for bar in flats} == loom.flats(
        full, frame, calendar
    )
    for bar in flats:
        assert (bar.open, bar.high, bar.low) == (bar.close,) * 3
        assert (bar.volume, bar.trades, bar.notional, bar.revision) == (0, 0, 0, 0)


@SLOW
@example(
    moves=[(0, 0, 1, "t")] * 3 + [(0, 4, 1, "t"), (0, 21, 1, "t"), (0, 0, 1, "t"), (0, 9, 1, "t")],
    seed=0,
    calendar="24/7",
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 3, 11, 32, 200]),
            st.sampled_from([0, 0, 0, 4, 9, 21, 55]),
            st.integers(1, 3),
            st.sampled_from("tttttg"),
        ),
        min_size=5,
        max_size=40,
    ),
    st.integers(0, 10**9),
    st.sampled_from(["24/7", "pauses"]),
)
def test_what_is_final_was_told_before_also_where_flat_bars_became_others(
    loom: Any, moves: Any, seed: int, calendar: str
) -> None:
    items: list[Any] = []
    now = T0 + 19 * 60 * NS
    for number, (step, back, price, kind) in enumerate(moves):
        now += step * NS
        ts = now - back * NS
        if kind == "t":
            items.append(loom.Tick("A", ts, price, 1, 0, number))
        else:
            items.append(Gap(recv_ns=now, contract="A", from_ns=ts, to_ns=ts + price * 5 * NS, cause="test"))
    items.append(SessionStopped(recv_ns=now))
    run = loom.run(items, ["5s"], lateness=60 * NS, seed=seed, emit_empty=True, calendar=calendar)
    shown: dict[int, Any] = {}
    for bars in run.said["5s"]:
        shown |= {bar.open_time: bar for bar in (*bars.closed, *bars.revised)}
        for bar in bars.settled:
            assert shown.pop(bar.open_time) == bar
    assert shown == {}


# -- the life of a bar ----------------------------------------------------------------------------------------


def delta(ts: int, price: int, tick: int, late: int = 0, trades: int = 1) -> Delta:
    bucket = ts // NS * NS
    return Delta(
        "A", bucket, price, ts, tick, price, price, price, ts, tick, trades, trades, price * trades, trades, 0, 0, late
    )


class Life:
    """One timeframe fed by hand."""

    def __init__(
        self, loom: Any, timeframe: str = "5s", grace: int = NS, lateness: int = 10 * NS, **options: Any
    ) -> None:
        self.fold = loom.fold(timeframe, grace, lateness, **options)
        self.state = self.fold.initial()
        self.seq = 0

    def tell(self, *rows: Delta, newest: int = 0, **more: Any) -> Bars:
        self.seq += 1
        watermarks = (("A", newest),) if newest else ()
        self.state, outputs = self.fold.step(self.state, [Reduced(self.seq, rows, watermarks=watermarks, **more)])
        return outputs[0] if outputs else Bars(self.fold.weaving.timeframe, self.seq)


def stages(bars: Bars) -> dict[str, list[tuple[int, int, int]]]:
    """(seconds since T0, close, revision) of the bars in each stage."""
    return {
        name: [((bar.open_time - T0) // NS, bar.close, bar.revision) for bar in getattr(bars, name)]
        for name in ("updated", "closed", "revised", "settled")
        if getattr(bars, name)
    }


def test_a_bar_is_updated_closed_revised_and_settled_each_at_its_time(loom: Any) -> None:
    life = Life(loom)
    assert stages(life.tell(delta(T0, 10, 1), newest=T0)) == {"updated": [(0, 10, 0)]}
    assert stages(life.tell(delta(T0 + 2 * NS, 11, 2), newest=T0 + 2 * NS)) == {"updated": [(0, 11, 0)]}
    now = T0 + 6 * NS - 1
    assert stages(life.tell(delta(now, 12, 3), newest=now)) == {"updated": [(5, 12, 0)]}
    now = T0 + 6 * NS
    assert stages(life.tell(delta(now, 13, 4), newest=now)) == {"updated": [(5, 13, 0)], "closed": [(0, 11, 0)]}
    late = life.tell(delta(T0 + 3 * NS, 14, 5, late=now))
    assert stages(late) == {"revised": [(0, 14, 1)]}
    assert late.revised[0].flags == BarFlag.REVISED
    now = T0 + 16 * NS - 1
    assert "settled" not in stages(life.tell(delta(now, 15, 6), newest=now))
    now = T0 + 16 * NS
    settled = life.tell(delta(now, 16, 7), newest=now)
    assert stages(settled)["settled"] == [(0, 14, 1)]
    assert settled.settled[0].final
    assert not settled.updated[0].final


def test_a_beat_closes_a_quiet_market_promptly_and_never_settles_it(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), newest=T0)
    assert stages(life.tell(beat=T0 + 6 * NS - 1)) == {}
    assert stages(life.tell(beat=T0 + 6 * NS)) == {"closed": [(0, 10, 0)]}
    assert stages(life.tell(beat=T0 + 3600 * NS)) == {}
    stalled = T0 + 3600 * NS
    after = life.tell(delta(T0 + NS, 12, 2, late=stalled), delta(T0 + 7 * NS, 13, 3, late=stalled), newest=T0 + 7 * NS)
    assert stages(after) == {"revised": [(0, 12, 1), (5, 13, 1)]}
    assert after.refused == 0


def test_a_trade_late_for_its_second_is_on_time_for_a_minute_that_is_still_open(loom: Any) -> None:
    watermark = T0 + 30 * NS
    row = delta(T0 + 2 * NS, 10, 2, late=watermark)
    second, minute = Life(loom, "1s", lateness=60 * NS), Life(loom, "1m", lateness=60 * NS)
    for life in (second, minute):
        life.tell(delta(T0 + 30 * NS, 9, 1), newest=watermark)
    assert stages(second.tell(row)) == {"revised": [(2, 10, 1)]}
    assert stages(minute.tell(row)) == {"updated": [(0, 9, 0)]}
    assert second.tell(row).refused == 0


def test_a_late_trade_for_a_bar_that_is_final_is_refused_and_counted(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), newest=T0)
    life.tell(delta(T0 + 16 * NS, 11, 2), newest=T0 + 16 * NS)
    assert life.tell(delta(T0, 12, 3, late=T0 + 16 * NS, trades=3)).refused == 3


def test_a_bar_revised_and_settled_in_one_step_is_reported_as_both(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), delta(T0 + 6 * NS, 11, 2), newest=T0 + 6 * NS)
    said = life.tell(delta(T0 + 3 * NS, 12, 3, late=T0 + 6 * NS), delta(T0 + 16 * NS, 13, 4), newest=T0 + 16 * NS)
    assert stages(said) == {
        "updated": [(15, 13, 0)],
        "closed": [(5, 11, 0)],
        "revised": [(0, 12, 1)],
        "settled": [(0, 12, 1)],
    }


def test_a_bar_that_late_trades_alone_made_settles_when_its_time_comes(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0 + 6 * NS, 11, 1), newest=T0 + 6 * NS)
    assert stages(life.tell(delta(T0, 10, 2, late=T0 + 6 * NS))) == {"revised": [(0, 10, 1)]}
    assert "settled" not in stages(life.tell(newest=T0 + 16 * NS - 1))
    assert stages(life.tell(newest=T0 + 16 * NS)) == {"settled": [(0, 10, 1)]}


def test_a_stop_closes_and_settles_everything_and_flags_what_was_open(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), delta(T0 + 5 * NS, 11, 2), newest=T0 + 7 * NS)
    stopped = life.tell(beat=T0 + 7 * NS, stop=True)
    assert stopped.stop
    assert stages(stopped) == {"closed": [(5, 11, 0)], "settled": [(0, 10, 0), (5, 11, 0)]}
    assert [bar.flags for bar in stopped.settled] == [BarFlag.NONE, BarFlag.PARTIAL]
    assert life.fold.pending(life.state, "A") == ([], [])
    again = life.tell(delta(T0 - 100 * NS, 12, 3), newest=T0 - 100 * NS)
    assert stages(again) == {"updated": [(-100, 12, 0)]}  # the time of the session before has ended with it


def test_two_sessions_within_one_step_are_two_outputs(loom: Any) -> None:
    fold = loom.fold("5s", 0, 0)
    first = Reduced(1, (delta(T0, 10, 1),), watermarks=(("A", T0),), stop=True)
    second = Reduced(1, (delta(T0 + NS, 11, 2),), watermarks=(("A", T0 + NS),), part=1)
    state, outputs = fold.step(fold.initial(), [first, second])
    assert [(o.stop, len(o.settled), len(o.updated)) for o in outputs] == [(True, 1, 0), (False, 0, 1)]
    assert fold.step(state, [first, second]) == (state, [])


def test_a_mark_flags_bars_open_closed_and_yet_to_come_but_not_those_that_were_final(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), newest=T0)
    life.tell(delta(T0 + 16 * NS, 11, 2), newest=T0 + 16 * NS)  # the first bar is final now
    life.tell(delta(T0 + 23 * NS, 11, 3), newest=T0 + 23 * NS)
    gap = Mark("A", T0, T0 + 26 * NS, int(BarFlag.GAP), T0 + 23 * NS)
    flagged = life.tell(marks=(gap,))
    assert stages(flagged) == {"updated": [(20, 11, 0)], "revised": [(15, 11, 0)]}
    assert {bar.flags for bar in (*flagged.updated, *flagged.revised)} == {BarFlag.GAP}
    later = life.tell(delta(T0 + 25 * NS, 12, 4), delta(T0 + 30 * NS, 13, 5), newest=T0 + 30 * NS)
    assert {(bar.open_time - T0) // NS: bar.flags for bar in later.updated} == {25: BarFlag.GAP, 30: BarFlag.NONE}
    done = life.tell(delta(T0 + 60 * NS, 13, 6), newest=T0 + 60 * NS)
    assert [bar.flags for bar in done.settled] == [BarFlag.GAP, BarFlag.GAP, BarFlag.GAP, BarFlag.NONE]
    assert life.state.contracts["A"].marks == ()


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_bars_that_began_before_the_place_a_log_is_folded_from_are_partial_however_late_their_trades(
    loom: Any, seed: int | None
) -> None:
    stamps = [T0 + 4 * NS, T0 + 11 * NS, T0 + 6 * NS, T0 + 12 * NS, T0 + 16 * NS]
    ticks = [loom.Tick("A", ts, 10, 1, 2, number) for number, ts in enumerate(stamps)]
    items = [Midway(recv_ns=T0 + 10 * NS + 1, contract="A"), *ticks, SessionStopped(recv_ns=T0 + 60 * NS)]
    bars = loom.run(items, ["5s"], lateness=60 * NS, seed=seed).bars["5s"]
    flagged = {(bar.open_time - T0) // NS for bar in bars if bar.flags & BarFlag.PARTIAL}
    assert [(bar.open_time - T0) // NS for bar in bars] == [0, 5, 10, 15]
    assert flagged == {0, 5, 10}


def test_marks_flag_bars_made_in_bulk_as_they_flag_others(loom: Any) -> None:
    rows = [delta(T0 + s * NS, 10, s) for s in range(60)]
    mark = Mark("A", T0 + 5 * NS, T0 + 30 * NS, int(BarFlag.GAP), T0 + 20 * NS)
    in_bulk = Life(loom, "1s", 0, 0).tell(newest=T0 + 60 * NS, marks=(mark,), columns=(to_columns(rows),))
    one_by_one = Life(loom, "1s", 0, 0).tell(*rows, newest=T0 + 60 * NS, marks=(mark,))
    bulk = [(bar.open_time, bar.flags) for block in in_bulk.columns for bar in loom.rows_of(block)]
    assert bulk == [(bar.open_time, bar.flags) for bar in one_by_one.settled]
    assert [(start - T0) // NS for start, flags in bulk if flags] == list(range(20, 30))


def test_columns_older_than_what_is_closed_or_final_make_no_second_bar(loom: Any) -> None:
    life = Life(loom, "1s", 0, 10 * NS)
    for second in (0, 100):
        life.tell(delta(T0 + second * NS, 10, second), newest=T0 + second * NS)
    life.tell(beat=T0 + 101 * NS)
    old = to_columns([delta(T0 + second * NS, 11, 500 + second) for second in (-1, *range(1, 50), 100)])
    said = life.tell(newest=T0 + 200 * NS, columns=(old,))
    assert said.refused == 1
    assert len(loom.final_bars([said])) == 50
    assert stages(said)["revised"] == [(100, 11, 1)]


def test_columns_older_than_the_last_final_bar_are_refused_also_when_nothing_else_is_kept(loom: Any) -> None:
    life = Life(loom, "1s", 0, 0)
    life.tell(delta(T0 + 100 * NS, 10, 1), newest=T0 + 100 * NS)
    assert stages(life.tell(newest=T0 + 500 * NS))["settled"] == [(100, 10, 0)]
    said = life.tell(columns=(to_columns([delta(T0 + second * NS, 11, second) for second in range(60)]),))
    assert (said.refused, loom.final_bars([said])) == (60, [])


def test_marks_are_bounded_by_drawing_the_oldest_together(loom: Any) -> None:
    life = Life(loom)
    life.tell(delta(T0, 10, 1), newest=T0)
    for index in range(1000):
        life.tell(marks=(Mark("A", T0 + index, T0 + index + 1, int(BarFlag.GAP), T0),))
    marks = life.state.contracts["A"].marks
    assert len(marks) == MAX_MARKS
    assert (marks[0].from_ns, marks[-1].to_ns) == (T0, T0 + 1000)


def test_flat_bars_come_while_the_market_is_open_also_across_sittings(loom: Any) -> None:
    friday = 1_699_653_600 * NS  # 2023-11-10 16:00 Chicago: the close
    life = Life(loom, "1m", grace=0, lateness=0, calendar="cme_equity", emit_empty=True)
    life.tell(delta(friday - 240 * NS, 10, 1), newest=friday - 240 * NS)
    closed = life.tell(delta(friday - 60 * NS, 11, 2), newest=friday - 60 * NS)
    assert [bar.flags for bar in closed.closed] == [0]
    sunday = friday + 49 * 3600 * NS
    over = life.tell(delta(sunday + 60 * NS, 12, 3), newest=sunday + 60 * NS)
    assert [((bar.open_time - friday) // (60 * NS), bar.flags, bar.close) for bar in over.closed] == [
        (-3, BarFlag.EMPTY, 10),
        (-2, BarFlag.EMPTY, 10),
        (-1, BarFlag.NONE, 11),
    ]
    assert [bar.open_time for bar in over.settled if bar.flags] == [friday - 180 * NS, friday - 120 * NS]
    monday = life.tell(delta(sunday + 180 * NS, 13, 4), newest=sunday + 180 * NS)
    assert [((bar.open_time - sunday) // (60 * NS), bar.flags, bar.close) for bar in monday.closed] == [
        (0, BarFlag.EMPTY, 11),  # from the sitting's open to its first trade
        (1, BarFlag.NONE, 12),
    ]


def test_no_flat_bar_stands_for_a_break(loom: Any) -> None:
    table = {
        "zone": "UTC",
        "sittings": [{"open": "08:00", "close": "16:00"}],
        "breaks": [{"open": "12:00", "close": "12:03"}],
    }
    rule = rule_for(calendar_from("lunch", table), "1m")
    fold = TimeframeFold("1m", lambda contract: rule, 0, 0, emit_empty=True)
    noon = T0 // (86_400 * NS) * (86_400 * NS) + 12 * 3600 * NS
    rows = (delta(noon - 120 * NS, 10, 1), delta(noon + 240 * NS, 11, 2))
    _, (said,) = fold.step(fold.initial(), [Reduced(1, rows, watermarks=(("A", noon + 300 * NS),))])
    assert [(bar.open_time - noon) // (60 * NS) for bar in said.settled] == [-2, -1, 3, 4]


@pytest.mark.parametrize(
    ("frame", "filled"), [("5m", [0, 5, 10, 15, 20, 25]), ("10m", [0, 10, 20]), ("20m", [0, 20]), ("1d", [])]
)
def test_a_bucket_that_a_break_ends_within_is_filled(loom: Any, frame: str, filled: list[int]) -> None:
    life = Life(loom, frame, grace=0, lateness=0, calendar="pauses", emit_empty=True)
    first = T0 + 30 * 60 * NS  # a sitting's open; it has a break from its 10th to its 13th minute
    life.tell(delta(T0, 10, 1), delta(T0 + 65 * 60 * NS, 11, 2), newest=T0 + 65 * 60 * NS)
    said = life.tell(newest=T0 + 26 * 3600 * NS)
    minutes = [(bar.open_time - first) // (60 * NS) for bar in said.settled if bar.flags & BarFlag.EMPTY]
    assert [minute for minute in minutes if minute >= 0] == filled


@pytest.mark.parametrize(
    ("stamps", "frame", "hours"),
    [
        ((-1, 5), "1h", [0, 1, 2, 3, 4]),
        ((-20, 60), "1d", [0, 24]),  # of the two days between those of the trades
    ],
)
def test_midnight_does_not_end_what_is_filled(loom: Any, stamps: tuple[int, int], frame: str, hours: list[int]) -> None:
    midnight = T0 + 2 * 3600 * NS
    life = Life(loom, frame, grace=0, lateness=0, calendar="24/7", emit_empty=True)
    for tick, hour in enumerate(stamps):
        ts = midnight + hour * 3600 * NS
        life.tell(delta(ts, 10, tick), newest=ts)
    said = life.tell(newest=midnight + 200 * 3600 * NS)
    assert [(bar.open_time - midnight) // (3600 * NS) for bar in said.settled if bar.flags] == hours


def test_flat_bars_follow_a_close_that_is_revised_and_say_so(loom: Any) -> None:
    life = Life(loom, "1s", grace=0, calendar="24/7", emit_empty=True)
    life.tell(delta(T0, 10, 1), newest=T0)
    now = T0 + 3 * NS
    life.tell(delta(now, 15, 2), newest=now)
    said = life.tell(newest=now + NS)
    assert stages(said) == {"closed": [(1, 10, 0), (2, 10, 0), (3, 15, 0)]}
    late = life.tell(delta(T0 + 1, 13, 3, late=now))
    assert stages(late) == {"revised": [(0, 13, 1), (1, 13, 0), (2, 13, 0)]}
    assert [bar.close for bar in life.fold.pending(life.state, "A")[0]] == [13, 13, 13, 15]
    between = life.tell(delta(T0 + NS, 12, 4, late=now))  # a bar where a flat one was
    assert stages(between) == {"revised": [(1, 12, 1), (2, 12, 0)]}
    same = life.tell(delta(T0 + NS, 12, 5, late=now))
    assert stages(same) == {"revised": [(1, 12, 2)]}
    gap = life.tell(marks=(Mark("A", T0 + 2 * NS, T0 + 3 * NS, int(BarFlag.GAP), now),))
    assert [(bar.open_time - T0, bar.flags) for bar in gap.revised] == [(2 * NS, BarFlag.EMPTY | BarFlag.GAP)]
    done = life.tell(newest=T0 + 60 * NS)
    assert stages(done) == {"settled": [(0, 13, 1), (1, 12, 2), (2, 12, 0), (3, 15, 0)]}


def test_of_a_very_long_quiet_time_the_newest_buckets_are_filled(loom: Any) -> None:
    life = Life(loom, "1s", grace=0, lateness=0, calendar="24/7", emit_empty=True)
    life.tell(delta(T0, 10, 1), newest=T0)
    life.tell(delta(T0 + (MAX_FLATS + 2) * NS, 11, 2), newest=T0 + (MAX_FLATS + 2) * NS)
    said = life.tell(newest=T0 + (MAX_FLATS + 4) * NS)
    assert [(bar.open_time - T0) // NS for bar in said.settled] == list(range(2, MAX_FLATS + 3))
    assert {bar.close for bar in said.settled[:-1]} == {10}


def test_a_timeframe_added_while_running_takes_a_late_trade_into_its_open_bar(loom: Any) -> None:
    life = Life(loom, "1m")
    life.tell(delta(T0 + NS, 10, 1))
    said = life.tell(delta(T0 + 2 * NS, 11, 2, late=T0 + 200 * NS))
    assert stages(said) == {"updated": [(0, 11, 0)]}


def test_a_step_leaves_the_state_it_was_given_as_it_was_also_when_it_fails(loom: Any) -> None:
    life = Life(loom, "1s")
    for second in range(4):
        life.tell(delta(T0 + second * NS, 10, second), newest=T0 + second * NS)
    before = copy.deepcopy(life.state)
    good = Reduced(
        90, (delta(T0 + NS, 3, 8, late=T0 + 3 * NS), delta(T0 + 20 * NS, 11, 9)), watermarks=(("A", T0 + 20 * NS),)
    )
    bad = delta(T0 + 20 * NS, LIMIT - 1, 10)
    life.fold.step(life.state, [good])
    with pytest.raises(BarOverflowError):
        life.fold.step(life.state, [good, Reduced(91, (bad, msgspec.structs.replace(bad, open_tick=11)))])
    with pytest.raises(ValueError, match="calendars hold"):
        life.fold.step(life.state, [good, Reduced(91, (delta(-(2**63), 1, 10),))])
    assert life.state == before


NOWHERE = (2**63 - 1) // NS * NS
"""A bucket that no calendar holds."""


def told_apart(fold: TimeframeFold, messages: list[Reduced]) -> tuple[TimeframeState, list[Bars], list[Any]]:
    """Fold messages one by one, and what fails in the pieces it can be told apart in; returns what is guilty, too."""
    state, said, guilty = fold.initial(), [], []
    waiting: list[Any] = [[message] for message in messages]
    while waiting:
        piece = waiting.pop(0)
        try:
            state, outputs = fold.step(state, piece)
            said += outputs
        except ValueError:
            halves = fold.split(piece)
            if halves is None:
                guilty += piece
            else:
                waiting[:0] = halves
    return state, said, guilty


def test_a_failing_message_halves_down_to_the_guilty_row_and_the_rest_counts(loom: Any) -> None:
    for columns in ((), (to_columns([delta(T0 + s * NS, 5, s) for s in (40, 41, 42)]),)):
        life = Life(loom, "1s", grace=0)
        rows = (
            delta(T0, 1, 0),
            delta(NOWHERE, 2, 1),
            delta(T0 + 43 * NS, 3, 2),
            delta(T0 + NS, 4, 3, late=T0 + 43 * NS),
            delta(T0 + 2 * NS, 4, 3, late=T0 + 43 * NS),
        )
        whole = Reduced(7, rows, columns, watermarks=(("A", T0 + 43 * NS),), weight=5, mono_ns=1)
        state, _, guilty = told_apart(life.fold, [whole])
        assert [[row.bucket for row in message.rows] for message in guilty] == [[NOWHERE]]
        clean = Life(loom, "1s", grace=0)
        clean.tell(*(row for row in rows if row.bucket != NOWHERE), newest=T0 + 43 * NS, columns=columns)
        assert state.contracts == clean.state.contracts


@settings(SLOW, max_examples=40)
@given(
    markets(),
    st.integers(0, 10**9),
    st.sampled_from(["1s", "5s", "1m"]),
    st.sampled_from([1, 4, 48]),
    st.sampled_from(["on time", "late", "in columns"]),
    st.booleans(),
    st.data(),
)
def test_whatever_row_is_guilty_the_bars_of_the_others_are_those_of_a_run_without_it(
    loom: Any, market: Any, seed: int, timeframe: str, column_rows: int, kind: str, flats: bool, data: Any
) -> None:
    items, grace, lateness = market
    items = [loom.Tick(*item) if isinstance(item, tuple) else item for item in items]
    rng = random.Random(seed)
    reduce = ReduceFold(grace, lateness, 600 * NS if rng.random() < 0.3 else 0, vector_rows=5, column_rows=column_rows)
    clean: list[Reduced] = []
    known = reduce.initial()
    for seq, part in enumerate(loom.cut(items, rng), 1):
        known, outputs = reduce.step(known, [loom.validated(part, seq)])
        clean += outputs
    clean = loom.pressed(clean, rng)
    assert clean, "a market stops at least"
    at = data.draw(st.integers(0, len(clean) - 1), label="which message")
    contract = data.draw(st.sampled_from("AC"), label="whose row")
    guilty = msgspec.structs.replace(delta(NOWHERE, 1, 0, late=T0 if kind == "late" else 0), contract=contract)
    if kind == "in columns":
        changes: Any = {"columns": (*clean[at].columns, to_columns([guilty]))}
    else:
        where = data.draw(st.integers(0, len(clean[at].rows)), label="which row")
        changes = {"rows": (*clean[at].rows[:where], guilty, *clean[at].rows[where:])}
    spoilt = [*clean[:at], msgspec.structs.replace(clean[at], **changes), *clean[at + 1 :]]

    def fold() -> TimeframeFold:
        return loom.fold(timeframe, grace, lateness, emit_empty=flats, bulk_rows=4, updates=False)

    state, said, aside = told_apart(fold(), spoilt)
    expected, told, _ = told_apart(fold(), clean)
    (alone,) = aside
    assert prints_in(alone) == 1
    assert alone == Reduced(0, alone.rows, alone.columns, more=True), "neither time nor marks nor the stop goes with it"
    assert state == expected
    assert loom.final_bars(said) == loom.final_bars(told)
    assert sum(bars.refused for bars in said) == sum(bars.refused for bars in told)
    assert sum(bars.stop for bars in said) == sum(bars.stop for bars in told)


def test_without_updates_open_bars_are_not_reported(loom: Any) -> None:
    life = Life(loom, updates=False)
    assert stages(life.tell(delta(T0, 10, 1), newest=T0)) == {}
    assert [bar.close for bar in life.fold.pending(life.state, "A")[1]] == [10]


def test_pending_bars_are_those_that_closed_and_those_still_open(loom: Any) -> None:
    life = Life(loom, "1s")
    life.tell(delta(T0, 10, 1), delta(T0 + NS, 11, 2), delta(T0 + 3 * NS, 12, 3), newest=T0 + 3 * NS)
    closed, still_open = life.fold.pending(life.state, "A")
    assert [(bar.close, bar.final) for bar in closed] == [(10, True), (11, True)]
    assert [(bar.close, bar.final) for bar in still_open] == [(12, False)]
    assert life.fold.pending(life.state, "nobody") == ([], [])


def test_weight_and_oldest_receipt_travel_with_the_output(loom: Any) -> None:
    fold = loom.fold("5s", 0, 0)
    messages = [
        Reduced(1, (delta(T0, 10, 1),), mono_ns=70, weight=2),
        Reduced(2, (delta(T0, 10, 2),), mono_ns=50, weight=3),
        Reduced(3, beat=5),
    ]
    (said,) = fold.step(fold.initial(), messages)[1]
    assert (said.weight, said.mono_ns, said.seq) == (5, 50, 3)


def test_the_state_does_not_grow_with_time(loom: Any) -> None:
    fold = loom.fold("1s", NS, 5 * NS)
    state, sizes = fold.initial(), []
    for second in range(2000):
        now = T0 + second * NS
        state, _ = fold.step(state, [Reduced(second + 1, (delta(now, 10, second),), watermarks=(("A", now),))])
        sizes.append(len(state.contracts["A"].open) + len(state.contracts["A"].closed))
    assert max(sizes) <= 8
    assert len(state.contracts["A"].chain.rest) < LINK_ROWS * 104


def test_negative_times_are_refused_when_made(loom: Any) -> None:
    with pytest.raises(ValueError, match="timeframe 5s: grace -1 ns"):
        loom.fold("5s", -1, 0)


# -- real ticks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [256, 50_000])
def test_es_bars_equal_an_independent_polars_computation(loom: Any, es: list[Any], batch: int) -> None:
    reduce = ReduceFold(NS, 10 * NS)
    state, reduced = reduce.initial(), []
    for seq, start in enumerate(range(0, len(es), batch), 1):
        state, outputs = reduce.step(state, [loom.validated(es[start : start + batch], seq, arrays=True)])
        reduced += outputs
    reduced += reduce.step(state, [Validated(10**9, (SessionStopped(recv_ns=0),))])[1]
    frame = pl.DataFrame({"ts": [t.ts for t in es], "p": [t.price for t in es], "v": [t.size for t in es]})
    for name in ("1s", "1m", "5m", "1h", "1d"):
        fold = loom.fold(name, NS, 10 * NS)
        said, _ = loom.weave(fold, reduced)
        width = loom.rules(name)("").timeframe.seconds * NS
        oracle = (
            frame.group_by((pl.col("ts") // width * width).alias("open_time"), maintain_order=True)
            .agg(
                pl.col("p").first().alias("open"),
                pl.col("p").max().alias("high"),
                pl.col("p").min().alias("low"),
                pl.col("p").last().alias("close"),
                pl.col("v").sum().alias("volume"),
                pl.len().cast(pl.Int64).alias("trades"),
                (pl.col("p") * pl.col("v")).sum().alias("notional"),
            )
            .sort("open_time")
        )
        ours = [tuple(getattr(bar, column) for column in oracle.columns) for bar in loom.final_bars(said)]
        assert ours == oracle.rows()
        assert len(ours) > 1


@pytest.mark.parametrize("day", ["20131007", "20131008"])
def test_gold_minute_bars_equal_those_quantconnect_made_of_the_same_ticks(loom: Any, gold: Any, day: str) -> None:
    midnight = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * NS
    theirs = {
        (contract, midnight + int(ms) * 1_000_000): (*(round(float(price) * 10) for price in prices), int(volume))
        for contract, rows in gold("minute", day).items()
        for ms, *prices, volume in rows
        if int(ms) // 3_600_000 != 21  # their session data calls 17:00 to 17:15 in New York closed
    }
    ticks, number = [], 0
    for contract, rows in gold("tick", day).items():
        for ms, price, size, *_ in rows[:-1]:  # the last row of each file is there twice
            number += 1
            ts = midnight + int(ms) * 1_000_000
            ticks.append(loom.Tick(contract, ts, round(float(price) * 10), int(size), 2, number))
    ours = loom.run([*ticks, SessionStopped(recv_ns=0)], ["1m"], seed=1, vector_rows=64).bars["1m"]
    outside = [bar for bar in ours if (bar.open_time - midnight) // (3600 * NS) != 21]
    assert {
        (bar.contract, bar.open_time): (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in outside
    } == theirs
    assert len(theirs) > 1200
