"""A market of which parts are lost and come back from history: the bars must be those of the whole market."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tickloom.actors.bars import repairs
from tickloom.actors.bars.deltas import to_columns
from tickloom.actors.bars.reduce import ReduceFold
from tickloom.actors.bars.repairs import LONGEST_NS, MOST, RECENT_NS, Recent, Repairs
from tickloom.actors.bars.state import ALWAYS
from tickloom.messages.bars import Bar, BarFlag, Delta
from tickloom.messages.control import Beat, Gap, Healed, SessionStopped, Unhealed
from tickloom.messages.market import NS

T0 = 1_700_000_000 * NS - 1_700_000_000 * NS % (3600 * NS)
MINUTE = 60 * NS
WIDTHS = {"1s": NS, "5s": 5 * NS, "1m": MINUTE, "1h": 3600 * NS}
FOREVER = 10**18
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Loss(NamedTuple):
    """Ticks `[first, last)` of a market are lost; `after` arrivals later history says what they were."""

    first: int
    last: int
    after: int
    healed: bool
    width: int


class Market(NamedTuple):
    """A market as it was, as it came, and which stretches were healed and which not."""

    truth: list[Any]
    items: list[Any]
    healed: list[tuple[int, int]]
    missing: list[tuple[int, int]]
    grace: int


def whole(from_ns: int, to_ns: int, width: int = NS) -> tuple[int, int]:
    return from_ns // width * width, -(-to_ns // width) * width


def history(ticks: Sequence[Any], contract: str, from_ns: int, to_ns: int, width: int = NS) -> Healed:
    """What a gateway's history would say of a stretch of the whole market."""
    cells: dict[int, list[Any]] = {}
    for tick in ticks:
        if tick.contract == contract and from_ns <= tick.ts < to_ns:
            cells.setdefault(tick.ts // width * width, []).append(tick)
    rows = []
    for at, own in sorted(cells.items()):
        own.sort(key=lambda t: (t.ts, t.tick))
        prices = [t.price for t in own]
        rows.append((at, prices[0], max(prices), min(prices), prices[-1], sum(t.size for t in own)))
    names = ("open_ns", "open", "high", "low", "close", "volume")
    columns: Any = zip(*rows, strict=True) if rows else [()] * len(names)
    fields = {name: tuple(column) for name, column in zip(names, columns, strict=True)}
    span: Any = {"contract": contract, "from_ns": from_ns, "to_ns": to_ns, "width_ns": width}
    return Healed(recv_ns=0, source="the test", **span, **fields)


def received(tick: type, truth: list[Any], losses: list[Loss], delays: dict[int, int], grace: int) -> Market:
    """Let a market arrive with losses, delayed prints, gaps before the first print after a loss, and history."""
    lost = {at for loss in losses for at in range(loss.first, loss.last)}
    arrivals = sorted((at + delays.get(at, 0), at) for at in range(len(truth)) if at not in lost)
    items: list[Any] = []
    pending: list[tuple[int, Loss, Any]] = []
    waiting = list(losses)
    healed, missing = [], []
    newest = truth[0].ts
    for number, (_, at) in enumerate(arrivals):
        due_now = [loss for loss in waiting if at >= loss.last]
        waiting = waiting[len(due_now) :]
        for loss in due_now[-1:]:  # with no print between them two losses are one gap
            gap = Gap(recv_ns=0, contract="A", from_ns=newest, to_ns=truth[at].ts + 1, cause="test")
            items.append(gap)
            pending.append((number + loss.after, loss, gap))
        for due in [p for p in pending if p[0] <= number]:
            pending.remove(due)
            _, loss, gap = due
            start, end = whole(gap.from_ns, gap.to_ns)
            if loss.healed:
                if loss.width == MINUTE and -(-start // MINUTE) < end // MINUTE:
                    a, b = -(-start // MINUTE) * MINUTE, end // MINUTE * MINUTE
                    pieces = [(start, a, NS), (a, b, MINUTE), (b, end, NS)]
                else:
                    middle = start + (end - start) // NS // 2 * NS
                    pieces = [(start, middle, NS), (middle, end, NS)]
                items += [history(truth, "A", a, b, width) for a, b, width in pieces if a < b]
                healed.append((gap.from_ns, gap.to_ns))
            else:
                items.append(Unhealed(recv_ns=0, contract="A", from_ns=start, to_ns=end, reason="test"))
                missing.append((gap.from_ns, gap.to_ns))
        items.append(tick(*truth[at][:5], number))
        newest = max(newest, truth[at].ts)
    missing += [(gap.from_ns, gap.to_ns) for _, _, gap in pending]
    items.append(SessionStopped(recv_ns=newest + 10 * NS))
    return Market(truth, items, healed, missing, grace)


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[tuple[Any, ...]], list[Loss], dict[int, int], int]:
    """A market of one contract in order of time, one to three losses in it, and prints that came delayed."""
    step = st.sampled_from([0, 1, 200_000_000, 700_000_000, NS, 3 * NS, 40 * NS, 100 * NS])
    move = st.tuples(step, st.integers(-5, 5), st.integers(0, 4), st.integers(0, 2))
    moves = draw(st.lists(move, min_size=12, max_size=40))
    delays = draw(st.dictionaries(st.integers(1, len(moves) - 1), st.integers(1, 4), max_size=5))
    now = T0 + draw(st.integers(0, 3700)) * NS
    ticks = []
    for number, (after, price, size, side) in enumerate(moves):
        now += max(after, bool(delays))  # of two with one stamp, arrival says which is the open: not that of a late one
        ticks.append(("A", now, 100 + price, size, side, number))
    n = len(ticks)
    edges = sorted(draw(st.sets(st.integers(2, n - 2), min_size=2, max_size=6)))
    # of a second within a minute that history spoke of, it cannot speak again: minutes for a single loss only
    widths = st.just(NS) if len(edges) > 3 else st.sampled_from([NS, MINUTE])
    losses = [
        Loss(a, b, draw(st.integers(0, 8)), draw(st.integers(0, 4)) > 0, draw(widths))
        for a, b in zip(edges[::2], edges[1::2], strict=False)
    ]
    return ticks, losses, delays, draw(st.sampled_from([0, 300_000_000, 3 * NS]))


def bars_of(ticks: Sequence[Any], width: int) -> dict[int, tuple[int, ...]]:
    """Open, high, low, close and volume of the whole market, by open time."""
    buckets: dict[int, list[Any]] = {}
    for tick in sorted(ticks, key=lambda t: (t.ts, t.tick)):
        buckets.setdefault(tick.ts // width * width, []).append(tick)
    out = {}
    for start, own in buckets.items():
        prices = [t.price for t in own]
        out[start] = (prices[0], max(prices), min(prices), prices[-1], sum(t.size for t in own))
    return out


def ohlcv(bar: Bar) -> tuple[int, ...]:
    return (bar.open, bar.high, bar.low, bar.close, bar.volume)


def touches(bar: Bar, stretches: Sequence[tuple[int, int]], width: int = NS) -> bool:
    spans = (whole(*stretch, width) for stretch in stretches)
    return any(start < bar.close_time and end > bar.open_time for start, end in spans)


@SLOW
@given(markets(), st.integers(0, 10**9), st.sampled_from([0, 5, 10**9]), st.sampled_from([1, 4, 48]))
def test_healed_bars_equal_those_of_the_undisturbed_market_however_the_input_is_cut(
    loom: Any, market: Any, seed: int, vector_rows: int, column_rows: int
) -> None:
    ticks, losses, delays, grace = market
    truth = [loom.Tick(*tick) for tick in ticks]
    came = received(loom.Tick, truth, losses, delays, grace)
    spans = [[whole(*stretch) for stretch in kind] for kind in (came.healed, came.missing)]
    # of a stretch within another it is history's order that decides, and that is for another test
    assume(not any(a[0] <= b[0] and b[1] <= a[1] for one, other in permutations(spans) for a in one for b in other))
    seconds_only = all(loss.width == NS for loss in losses)
    options = {"grace": grace, "lateness": FOREVER, "patience": FOREVER}
    run = loom.run(came.items, WIDTHS, **options)
    for name, width in WIDTHS.items():
        expected = bars_of(truth, width)
        held = bars_of([item for item in came.items if isinstance(item, loom.Tick)], width)
        if not seconds_only and width < MINUTE:
            continue  # minutes do not heal what is finer
        for bar in run.bars[name]:
            assert bool(bar.flags & BarFlag.HEALED) == touches(bar, came.healed)
            gapped = bool(bar.flags & BarFlag.GAP)
            if not touches(bar, came.missing):
                assert not gapped
                assert ohlcv(bar) == expected[bar.open_time]
            elif not touches(bar, came.healed):
                assert gapped
                assert ohlcv(bar) == held[bar.open_time]
        if not came.missing:
            assert [bar.open_time for bar in run.bars[name]] == sorted(expected)
    prints = [item for item in came.items if isinstance(item, loom.Tick)]
    for name in WIDTHS:
        assert sum(bar.trades for bar in run.bars[name]) == len(prints)
        assert sum(bar.notional for bar in run.bars[name]) == sum(t.price * t.size for t in prints)
    parts = loom.run(
        came.items, WIDTHS, **options, seed=seed, vector_rows=vector_rows, column_rows=column_rows, bulk_rows=4
    )
    assert parts.bars == run.bars
    assert parts.digest == run.digest


def broken(loom: Any, after: Sequence[Any] = ()) -> list[Any]:
    """A second before a gap, one after it, and a far later print. The gap lost 10 contracts at 90 and 110."""
    return [
        loom.Tick("A", T0 + NS // 2, 100, 1, 0, 0),
        Gap(recv_ns=0, contract="A", from_ns=T0 + NS // 2, to_ns=T0 + 3 * NS + 1, cause="test"),
        loom.Tick("A", T0 + 3 * NS, 104, 2, 1, 1),
        loom.Tick("A", T0 + 30 * NS, 105, 1, 1, 2),
        *after,
    ]


def lost(loom: Any) -> Healed:
    ticks = [("A", T0 + NS // 2, 100, 1, 0, 0), ("A", T0 + NS, 90, 4, 0, 1), ("A", T0 + 2 * NS, 110, 6, 0, 2)]
    truth = [loom.Tick(*tick) for tick in (*ticks, ("A", T0 + 3 * NS, 104, 2, 1, 3))]
    return history(truth, "A", T0, T0 + 4 * NS)


def rows(bars: Sequence[Bar]) -> list[tuple[Any, ...]]:
    return [(bar.open_time, *ohlcv(bar), bar.trades, bar.revision, BarFlag(bar.flags)) for bar in bars]


def said(loom: Any, items: Sequence[Any], patience: int = FOREVER) -> list[Any]:
    return loom.run(items, ["5s"], grace=0, lateness=10 * NS, patience=patience).said["5s"]


def test_a_bar_with_a_gap_waits_for_history_and_is_final_as_soon_as_it_has_come(loom: Any) -> None:
    [waiting] = said(loom, broken(loom))
    assert rows(waiting.closed) == [(T0, 100, 104, 100, 104, 3, 2, 0, BarFlag.GAP)]
    assert waiting.settled == (), "though the newest stamp is far past it"
    [healed] = said(loom, broken(loom, [lost(loom)]))
    assert healed.closed == waiting.closed
    [bar] = healed.revised
    assert rows([bar]) == [(T0, 100, 110, 90, 104, 13, 2, 1, BarFlag.HEALED | BarFlag.REVISED)]
    assert healed.settled == (bar,)
    assert (bar.notional, bar.buy, bar.sell) == (100 + 208, 1, 2), "of what was received; history does not know"


def test_history_that_does_not_come_leaves_the_flag_and_lets_go(loom: Any) -> None:
    never = Unhealed(recv_ns=0, contract="A", from_ns=T0, to_ns=T0 + 4 * NS, reason="test")
    told = [bar for bars in said(loom, broken(loom, [never])) for bar in bars.settled]
    assert rows(told) == [(T0, 100, 104, 100, 104, 3, 2, 0, BarFlag.GAP)]
    # and the same when nobody says so, but the market has gone on for longer than one is patient
    impatient = said(loom, broken(loom, [lost(loom)]), patience=20 * NS)
    assert [bar for bars in impatient for bar in bars.settled] == told, "history that comes then is not looked at"


def test_half_of_a_gap_may_be_healed_and_its_bar_says_both(loom: Any) -> None:
    whole_gap = lost(loom)
    half = [
        history([loom.Tick("A", T0 + NS, 90, 4, 0, 1)], "A", T0 + NS, T0 + 2 * NS),
        Unhealed(recv_ns=0, contract="A", from_ns=T0, to_ns=T0 + NS, reason="test"),
        Unhealed(recv_ns=0, contract="A", from_ns=T0 + 2 * NS, to_ns=T0 + 4 * NS, reason="test"),
        whole_gap,
    ]
    [bar] = [bar for bars in said(loom, broken(loom, half)) for bar in bars.settled]
    flags = BarFlag.HEALED | BarFlag.GAP | BarFlag.REVISED
    assert rows([bar]) == [(T0, 100, 104, 90, 104, 7, 2, 1, flags)], "what was given up is not taken back"


def test_two_gaps_may_share_a_second_and_each_waits_by_itself() -> None:
    known = repairs.begin(Repairs(), gap(0, 2.3), T0, Recent(T0, 1))
    known = repairs.begin(known, gap(2.7, 5), T0 + 2 * NS, Recent(T0 + 2 * NS, 1))
    first, _ = repairs.heal(known, history([], "A", T0, T0 + 3 * NS), T0, T0, NS)
    assert [stretch.left for stretch in first.stretches] == [(), ((T0 + 2 * NS, T0 + 5 * NS),)]
    within, [patch] = repairs.heal(known, history([], "A", T0 + NS, T0 + 3 * NS), T0, T0, NS)
    assert within.stretches[0].left == ((T0, T0 + NS),)
    assert (patch.from_ns, patch.to_ns) == (T0 + NS, T0 + 3 * NS)
    first = repairs.give_up(known, T0, T0 + 3 * NS)
    assert [stretch.left for stretch in first.stretches] == [(), ((T0 + 2 * NS, T0 + 5 * NS),)]
    second, patch = repairs.heal(first, history([], "A", T0 + 2 * NS, T0 + 5 * NS), T0, T0, NS)
    assert len(patch) == 1
    assert second.waiting == 0


def test_a_piece_of_history_that_comes_twice_counts_once(loom: Any) -> None:
    once = said(loom, broken(loom, [lost(loom)]))
    twice = said(loom, broken(loom, [lost(loom), lost(loom)]))
    assert [b.settled for b in once if b.settled] == [b.settled for b in twice if b.settled]


def test_what_was_received_stays_though_history_knows_less(loom: Any) -> None:
    truth = [loom.Tick("A", T0 + NS // 2, 100, 1, 0, 0), loom.Tick("A", T0 + 3 * NS, 104, 1, 1, 1)]
    [bar] = [b for bars in said(loom, broken(loom, [history(truth, "A", T0, T0 + 4 * NS)])) for b in bars.settled]
    assert bar.volume == 3


def test_minutes_do_not_touch_bars_that_are_finer(loom: Any) -> None:
    truth = [loom.Tick("A", T0 + 70 * NS, 90, 9, 0, 0)]
    items = [
        loom.Tick("A", T0 + 30 * NS, 100, 1, 0, 0),
        Gap(recv_ns=0, contract="A", from_ns=T0 + 30 * NS, to_ns=T0 + 150 * NS + 1, cause="test"),
        loom.Tick("A", T0 + 150 * NS, 104, 2, 1, 1),
        history(truth, "A", T0 + MINUTE, T0 + 2 * MINUTE, MINUTE),
        loom.Tick("A", T0 + 200 * NS, 105, 1, 1, 2),
        Unhealed(recv_ns=0, contract="A", from_ns=T0 + 30 * NS, to_ns=T0 + MINUTE, reason="test"),
        Unhealed(recv_ns=0, contract="A", from_ns=T0 + 2 * MINUTE, to_ns=T0 + 151 * NS, reason="test"),
    ]
    run = loom.run(items, ["30s", "1m"], grace=0, lateness=0, patience=FOREVER)
    assert [bar.open_time for bar in run.bars["30s"]] == [T0 + 30 * NS, T0 + 150 * NS]
    assert all(bar.flags == BarFlag.GAP for bar in run.bars["30s"])
    assert rows(run.bars["1m"]) == [
        (T0, 100, 100, 100, 100, 1, 1, 0, BarFlag.GAP),
        (T0 + MINUTE, 90, 90, 90, 90, 9, 0, 1, BarFlag.HEALED | BarFlag.REVISED),
        (T0 + 2 * MINUTE, 104, 104, 104, 104, 2, 1, 0, BarFlag.GAP),
    ]


def test_without_patience_gaps_are_marked_and_nothing_waits(loom: Any) -> None:
    [bars] = said(loom, broken(loom), patience=0)
    assert rows(bars.settled) == [(T0, 100, 104, 100, 104, 3, 2, 0, BarFlag.GAP)]


def test_a_stop_lets_bars_go_that_wait_for_history(loom: Any) -> None:
    told = said(loom, broken(loom, [Beat(recv_ns=T0 + 40 * NS), SessionStopped(recv_ns=T0 + 41 * NS), lost(loom)]))
    [first, last] = [bar for bars in told for bar in bars.settled]
    assert (first.flags, first.volume) == (BarFlag.GAP, 3)
    assert last.open_time == T0 + 30 * NS


def test_a_batch_that_is_halved_takes_a_patch_once(loom: Any) -> None:
    fold = loom.fold("5s", 0, 10 * NS)
    reduce = ReduceFold(0, 10 * NS, FOREVER)
    state, reduced = reduce.step(reduce.initial(), [loom.validated(broken(loom), 1)])
    _, patched = reduce.step(state, [loom.validated([lost(loom)], 2)])
    late = [Delta("A", T0, 100, T0, n, 100, 100, 100, T0, n, 1, 1, 100, 1, 0, 0, T0 + 40 * NS) for n in (7, 8)]
    message = msgspec.structs.replace(patched[0], rows=tuple(late))
    before, _ = fold.step(fold.initial(), reduced)
    _, whole_said = fold.step(before, [message])
    first, second = fold.split([message])
    after, _ = fold.step(before, first)
    halved, _ = fold.step(after, second)
    expected, _ = fold.step(before, [message])
    assert halved.contracts["A"].chain == expected.contracts["A"].chain
    assert whole_said[0].settled[0].volume == 15


# -- bounds ---------------------------------------------------------------------------------------------------


def gap(from_s: float, to_s: float) -> Gap:
    return Gap(recv_ns=0, contract="A", from_ns=T0 + int(from_s * NS), to_ns=T0 + int(to_s * NS), cause="test")


@pytest.mark.parametrize(
    ("reaches", "why"),
    [
        (gap(-61, 3), "it began before the seconds we know of"),
        (gap(2, 2), "it is empty"),
        (gap(2, 3 + LONGEST_NS / NS), "it is too long"),
    ],
)
def test_a_gap_that_cannot_be_healed_is_not_waited_for(reaches: Gap, why: str) -> None:
    newest = T0 + NS // 2
    assert repairs.begin(Repairs(), reaches, newest, Recent(T0, 1)).waiting == 0, why


def test_no_more_gaps_wait_than_are_allowed_and_none_is_kept_when_it_is_over() -> None:
    known = Repairs()
    for number in range(MOST + 10):
        known = repairs.begin(
            known, gap(2 * number, 2 * number + 1), T0 + 2 * number * NS, Recent(T0 + 2 * number * NS, 5)
        )
    assert known.waiting == MOST
    assert known.hold == T0
    newest = T0 + 100 * NS
    known = repairs.expire(known, newest, 30 * NS, 10 * NS)
    assert known.hold == T0 + 70 * NS, "those whose end is 30 s ago are given up"
    assert min(known.held) >= T0 + 70 * NS
    for number in range(MOST):
        start = T0 + 2 * number * NS
        piece = history([], "A", start, start + NS)
        known, _ = repairs.heal(known, piece, newest, newest, 10 * NS)
    known = repairs.expire(known, T0 + 10_000 * NS, FOREVER, 10 * NS)
    assert known == Repairs()
    assert known.hold == ALWAYS


def test_history_that_makes_no_sense_changes_nothing() -> None:
    known = repairs.begin(Repairs(), gap(0, 120), T0, Recent(T0, 5))

    def piece(**changes: Any) -> Healed:
        row = {"open_ns": (T0 + NS,), "open": (1,), "high": (1,), "low": (1,), "close": (1,), "volume": (1,)}
        span: Any = {"contract": "A", "from_ns": T0, "to_ns": T0 + 10 * NS, "width_ns": NS, "source": "test"}
        return Healed(recv_ns=0, **{**span, **row, **changes})

    for wrong in (
        piece(open_ns=(T0 + 1,)),
        piece(open_ns=(T0 + 10 * NS,)),
        piece(open=()),
        piece(width_ns=7),
        piece(from_ns=T0 - NS),
        piece(to_ns=T0),
    ):
        assert repairs.heal(known, wrong, T0, T0, NS) == (known, ())
    after, patch = repairs.heal(known, piece(), T0, T0, NS)
    assert len(patch) == 1
    assert after.stretches[0].left == ((T0 + 10 * NS, T0 + 120 * NS),)
    seen, _ = repairs.heal(after, piece(from_ns=T0 + 10 * NS, open_ns=(T0 + 60 * NS,), to_ns=T0 + 120 * NS), T0, T0, NS)
    minute = piece(from_ns=T0 + 60 * NS, to_ns=T0 + 120 * NS, open_ns=(T0 + 60 * NS,), width_ns=MINUTE)
    again = Repairs(known.stretches, seen.held, seen.given)
    assert repairs.heal(again, minute, T0, T0, NS) == (again, ()), "its first second was given as one"


def test_the_volume_of_the_last_seconds_is_known_however_they_came() -> None:
    rng = random.Random(5)
    recent = repairs.NO_TRADES
    newest = -(2**63)
    volumes: dict[int, int] = {}
    for number in range(400):
        second = max(number // 3 - rng.randint(0, 5), 0)
        ts = T0 + second * NS + number
        newest = max(newest, ts)
        volumes[T0 + second * NS] = volumes.get(T0 + second * NS, 0) + number
        row = Delta("A", T0 + second * NS, 1, ts, number, 1, 1, 1, ts, number, number, 1, number, 0, 0)
        recent = repairs.advance(recent, newest, *(([row], []) if number % 2 else ([], [to_columns([row])])))
    floor = newest - newest % NS - RECENT_NS
    assert recent.volumes() == {second: volume for second, volume in volumes.items() if second >= floor}
    assert len(recent.volumes()) <= RECENT_NS // NS + 1


def test_a_gap_that_begins_before_the_newest_stamp_is_healed_too(loom: Any) -> None:
    """Where stamps do not rise, what is missing may be older than what came."""
    came = [("A", T0 + s * NS + n, 100 + s, 1, 0, n) for n, s in enumerate((1, 3, 5, 4, 6))]
    missing = [("A", T0 + 4 * NS, 90, 7, 0, 9), ("A", T0 + 8 * NS, 120, 5, 0, 10)]
    after = ("A", T0 + 9 * NS, 100, 2, 0, 11)
    truth = [loom.Tick(*tick) for tick in sorted([*came, *missing, after], key=lambda tick: tick[1])]
    items = [
        *(loom.Tick(*tick) for tick in came),
        Gap(recv_ns=0, contract="A", from_ns=T0 + 4 * NS, to_ns=T0 + 9 * NS + 1, cause="test"),
        loom.Tick(*after),
        history(truth, "A", T0 + 4 * NS, T0 + 10 * NS),
        loom.Tick("A", T0 + 60 * NS, 100, 1, 0, 12),
    ]
    for seed in (None, 1, 2, 3):
        run = loom.run(items, WIDTHS, grace=0, lateness=10 * NS, patience=FOREVER, seed=seed)
        for name in ("1s", "5s"):
            expected = bars_of(truth, WIDTHS[name])
            assert {bar.open_time: ohlcv(bar) for bar in run.bars[name]} == expected
