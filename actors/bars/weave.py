"""One contract's bars of one timeframe, within one step of its fold: what happens to a bar, in which order.

A bar is *open* until the watermark (the newest event stamp or the last beat) reaches its end plus the grace; then it is
*closed*; a late trade *revises* it; when the newest event stamp alone reaches its end plus grace plus lateness it is
*settled*: final, and forgotten here. Beats close bars but never settle them, so a feed that stalls and then delivers
everything still finds its bars. While history may still fill a gap, no bar that ends after the gap began is settled.

Within one `Reduced` the order is fixed: on-time deltas, marks and patches, closing, revisions, settling, stop. Since
each late delta, and each patch, says how far the watermark was when it came, any grouping of the same input gives the
same bars.

Flat bars, where they are asked for, stand between two bars of a contract: one for each bucket in which the market
trades at any moment, at the close of the bar before. They are nowhere kept; what they are follows from the bars around
them. So they are told when the bar after them closes, told anew when that bar, the one before them, or a mark comes to
say something else, and final with the bar after them.

A patch is what history adds within a stretch. It reaches the bars that its cells fit into; those that are finer stay
flagged as they were. A closed bar gets one revision from it, however many of its cells lie inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np

from tickloom.actors.bars import marks as marking
from tickloom.actors.bars.deltas import join, merge, roll_up, run_starts, take, to_rows
from tickloom.actors.bars.digest import pack, pack_columns
from tickloom.actors.bars.seconds import NEVER
from tickloom.actors.bars.state import ALWAYS, BucketRule, ContractState, Live, Weaving
from tickloom.messages.bars import Bar, BarColumns, BarFlag, Delta, DeltaColumns, Mark, Patch
from tickloom.messages.market import IntArray

MAX_FLATS = 3_600
"""Most flat bars between two bars; of a longer run it is the newest."""

Run: TypeAlias = tuple[int, int, int]
"""What lies between two bars: the end of the first, its close, the open time of the second."""

_PARTIAL, _EMPTY, _REVISED = int(BarFlag.PARTIAL), int(BarFlag.EMPTY), int(BarFlag.REVISED)


class Weaver:
    """The working copy of a `ContractState`: changed freely during a step, thrown away if the step fails."""

    __slots__ = (
        "_block",
        "_bucket",
        "_grace",
        "_held",
        "_late",
        "_lateness",
        "_own",
        "_retold",
        "_rule",
        "_state",
        "_told",
        "_touched",
        "_weaving",
        "blocks",
        "busy",
        "chain",
        "changed",
        "closed",
        "contract",
        "due",
        "fixed",
        "floor",
        "hold",
        "marks",
        "newest",
        "open",
        "price",
        "refused",
        "revised",
        "said",
        "settled",
    )

    def __init__(self, weaving: Weaving, contract: str, state: ContractState) -> None:
        self.contract = contract
        self.newest, self.marks = state.newest, state.marks
        self.open, self.closed = dict(state.open), state.closed
        self.due, self.fixed = state.due, state.fixed
        self.floor, self.price, self.chain = state.floor, state.price, state.chain
        self.hold = state.hold
        self.said: list[Bar] = []  # closed
        self.revised: list[Bar] = []
        self.settled: list[Bar] = []
        self.blocks: list[BarColumns] = []
        self.changed: set[int] = set()  # closed bars revised in this step
        self.refused = 0
        self.busy = False  # something beyond updates happened
        self._weaving = weaving
        self._state = state
        self._told: set[Run] = set()  # whose flat bars were said in this step
        self._retold: dict[int, Bar] = {}  # flat bars that became others in this step
        self._grace, self._lateness = weaving.grace_ns, weaving.lateness_ns
        self._own = False
        self._rule: BucketRule | None = None
        self._bucket = (0, 0)
        for start, live in self.open.items():  # most likely the next delta belongs where the last one did
            self._bucket = (start, live.close_time)
        self._touched: set[int] = set()
        self._late: list[tuple[int, int, Delta, int]] = []  # open, close, what, revisions it makes
        self._block: tuple[DeltaColumns, IntArray] | None = None

    def freeze(self) -> ContractState:
        """Return the state as a value."""
        bars = (self.newest, self.open, self.closed, self.marks, self.due, self.fixed)
        return ContractState(*bars, self.floor, self.price, self.chain, self.hold)

    @property
    def rule(self) -> BucketRule:
        """The contract's buckets."""
        if self._rule is None:
            self._rule = self._weaving.rules(self.contract)
        return self._rule

    # -- deltas ---------------------------------------------------------------------------------------------

    def add(self, row: Delta) -> None:
        """Merge a delta into its bar, or keep it for `revise` if the bar had closed before it came."""
        start, end = self._bucket
        if not start <= row.bucket < end:
            start, end = self._bucket = self.rule.bucket(row.bucket)
        if row.late and end + self._grace <= row.late:
            self._late.append((start, end, row, row.trades))
        else:
            self._merge(start, end, row, row.trades)

    def _merge(self, start: int, end: int, row: Delta, revisions: int) -> None:
        live = self.open.get(start)
        if live is not None:
            self.open[start] = Live(merge(live.delta, row), end)
        elif start < self.floor or start in self.closed:
            self._late.append(
                (start, end, row, revisions)
            )  # on time by a shorter grace than ours: cannot be, unless misconfigured
            return
        else:
            self.open[start] = Live(_at(row, start), end)
            if end < self.due:
                self.due = end
        self._touched.add(start)

    def add_columns(self, parts: Sequence[DeltaColumns], *, bulk: bool = True) -> None:
        """Merge columns; with `bulk` what can be closed and settled at once never becomes an object.

        To be called after `add` and `advance` of the same `Reduced`.
        """
        columns = join(parts)
        opens, closes = self.rule.buckets(columns.bucket)
        starts = run_starts(opens)
        columns, closes = roll_up(columns, opens, starts), closes[starts]
        first, last = self._bulk(columns.bucket, closes) if bulk else (0, 0)
        if last - first >= self._weaving.bulk_rows:
            self._block = (take(columns, slice(first, last)), closes[first:last])
        else:
            first = last = len(columns)
        for start, stop in ((0, first), (last, len(columns))):
            for row, end in zip(to_rows(columns, start, stop), closes[start:stop].tolist(), strict=True):
                self._merge(row.bucket, end, row, row.trades)

    def _bulk(self, opens: IntArray, closes: IntArray) -> tuple[int, int]:
        """Return the range of rows that close and settle now, newer than every bar we have and untouched by late
        ones."""
        if self._weaving.flats or self.newest == NEVER:
            return 0, 0
        known = max(max(self.open, default=NEVER), max(self.closed, default=NEVER), self.floor - 1)
        first = int(np.searchsorted(opens, known, side="right"))
        over = min(self.newest - self._grace - self._lateness, self.hold)
        last = int(np.searchsorted(closes, over, side="right"))
        if self._late:
            last = min(last, int(np.searchsorted(opens, min(start for start, *_ in self._late))))
        return first, max(first, last)

    # -- time and marks -------------------------------------------------------------------------------------

    def advance(self, newest: int) -> None:
        """Move the newest event stamp."""
        if newest > self.newest:
            self.newest = newest

    def mark(self, mark: Mark) -> None:
        """Flag every bar that overlaps the mark, now and later."""
        self.marks, self.busy = marking.put(self.marks, mark), True
        for bars, changed in ((self.open, self._touched), (self.closed, self.changed)):
            changed.update(start for start, live in bars.items() if self._hits(mark, start, live.close_time))

    def _hits(self, mark: Mark, start: int, end: int) -> bool:
        return mark.from_ns < end and mark.to_ns > start and mark.known < end + self._grace + self._lateness

    def heal(self, patch: Patch) -> None:
        """Take in what history adds, if its cells fit into our bars; those that are not final lose their gap."""
        found: dict[int, tuple[int, Delta]] = {}
        for at in (patch.from_ns, *(row.bucket for row in patch.rows)):
            start, end = self.rule.bucket(at)
            if at + patch.width > end or at % patch.width:
                return
        for row in patch.rows:
            start, end = self.rule.bucket(row.bucket)
            if patch.known < end + self._grace + self._lateness:
                before = found.get(start)
                found[start] = (end, _at(row, start) if before is None else merge(before[1], row))
        self.marks = marking.without(self.marks, patch)
        self.mark(marking.healed(patch))
        for start, (end, row) in found.items():
            if end + self._grace <= patch.late:
                self._late.append((start, end, row, 1))
            else:
                self._merge(start, end, row, 1)

    # -- the life of a bar ----------------------------------------------------------------------------------

    def turn(self, beat: int, *, settle: bool = True) -> None:
        """Close what is due, revise, settle: everything that follows once deltas, marks and time of a `Reduced` are
        in. Without `settle` more of the same is to come."""
        watermark = beat if beat > self.newest else self.newest
        if self.due + self._grace <= watermark:
            self._close(watermark - self._grace)
        anew = self._weaving.flats and (bool(self._late) or self.marks != self._state.marks)
        if self._late:
            self._revise()
        if anew:
            self._retell()
        if (
            settle
            and self.newest != NEVER
            and (self._block is not None or self.fixed <= min(self.newest - self._grace - self._lateness, self.hold))
        ):
            self._settle(min(self.newest - self._grace - self._lateness, self.hold))

    def stop(self) -> None:
        """Let all bars go, those still open as partial, and start over; the chain goes on."""
        for start, live in self.open.items():
            flagged = msgspec.structs.replace(live.delta, flags=live.delta.flags | _PARTIAL)
            self.open[start] = Live(flagged, live.close_time)
        self._close(ALWAYS)
        self._settle(ALWAYS)
        self.newest, self.marks, self.floor, self.hold = NEVER, (), NEVER, ALWAYS

    def _closed(self) -> dict[int, Live]:
        """The closed bars, ours to change: copied when first needed, since most steps close nothing."""
        if not self._own:
            self.closed, self._own = dict(self.closed), True
            self.busy = True
        return self.closed

    def _close(self, bound: int) -> None:
        closed = self._closed()
        for start in sorted(start for start, live in self.open.items() if live.close_time <= bound):
            live = self.open.pop(start)
            if self._weaving.flats:
                before = max((other for other in closed if other < start), default=None)
                run = (self.floor, self.price, start)
                if before is not None:
                    run = (closed[before].close_time, closed[before].delta.close, start)
                self.said += self._flats(run)
                self._told.add(run)
            closed[start] = live
            if live.close_time < self.fixed:
                self.fixed = live.close_time
            self.said.append(self.bar(live))
        self.due = min((live.close_time for live in self.open.values()), default=ALWAYS)

    def _revise(self) -> None:
        closed = self._closed()
        for start, end, row, revisions in self._late:
            live = closed.get(start)
            if live is not None:
                closed[start] = Live(merge(live.delta, row), end, live.revision + revisions)
            elif start in self.open:  # a timeframe added while running, younger than the watermark
                self._merge(start, end, row, revisions)
                continue
            elif start < self.floor:
                self.refused += row.trades
                continue
            else:
                closed[start] = Live(_at(row, start), end, revisions)
                self.fixed = min(self.fixed, end)
                self._retold.pop(start, None)  # a flat bar of this step, where there is a trade now
            self.changed.add(start)
        self._late = []

    def _retell(self) -> None:
        """Say the flat bars that are others, by bars or by marks, than those that were said before."""
        was, marks = self._state, self.marks
        known = self._told.union(_runs(was.closed, was.floor, was.price))
        moved = set(marks) ^ set(was.marks)
        touched = [
            run
            for run in _runs(self.closed, self.floor, self.price)
            if run not in known or any(mark.from_ns < run[2] and mark.to_ns > run[0] for mark in moved)
        ]
        if not touched:
            return
        low, high = touched[0][0], touched[-1][2]
        self.marks = was.marks
        told = {
            bar.open_time: bar
            for run in _runs(was.closed, was.floor, was.price)
            if run[0] < high and run[2] > low
            for bar in self._flats(run)
        }
        self.marks = marks
        told |= {bar.open_time: bar for bar in self.said if bar.flags & _EMPTY}
        told |= self._retold
        self._retold |= {
            bar.open_time: bar for run in touched for bar in self._flats(run) if told.get(bar.open_time) != bar
        }

    def _settle(self, bound: int) -> None:
        closed = self._closed()
        block, self._block = self._block, None
        rows: list[bytes] = []
        for start in sorted(start for start, live in closed.items() if live.close_time <= bound):
            if block is not None and start > block[0].bucket[0]:
                self._settle_block(rows, *block)
                rows, block = [], None
            live = closed.pop(start)
            bar = self.bar(live)
            if self._weaving.flats:
                flats = self._flats((self.floor, self.price, start))
                self.settled += flats
                rows += map(pack, flats)
            self.settled.append(bar)
            rows.append(pack(bar))
            if start in self.changed:
                self.revised.append(bar)
            self.floor, self.price = bar.close_time, bar.close
        if block is not None:
            self._settle_block(rows, *block)
        elif rows:
            self.chain = self.chain.extend(b"".join(rows))
        self.fixed = min((live.close_time for live in closed.values()), default=ALWAYS)
        if self.marks and bound != ALWAYS:
            # flat bars come with the bar after them: what lies between is not over before that one settles
            over = min(bound, self.floor) if self._weaving.flats else bound
            self.marks = tuple(m for m in self.marks if m.to_ns > over or self.rule.bucket(m.to_ns - 1)[1] > over)

    def _settle_block(self, before: Sequence[bytes], columns: DeltaColumns, closes: IntArray) -> None:
        """Settle a block of bars; `before` are the packed bars that settle ahead of it."""
        if before:
            self.chain = self.chain.extend(b"".join(before))
        flags = np.full(len(columns), columns.flags, dtype=np.int64)
        for m in self.marks:
            hit = (m.from_ns < closes) & (m.to_ns > columns.bucket)
            hit &= m.known < closes + (self._grace + self._lateness)
            flags[hit] |= m.flag
        block = BarColumns(
            self.contract,
            self._weaving.timeframe,
            columns.bucket,
            closes,
            columns.open,
            columns.high,
            columns.low,
            columns.close,
            columns.volume,
            columns.trades,
            columns.notional,
            columns.buy,
            columns.sell,
            np.zeros(len(columns), dtype=np.int64),
            flags,
        )
        self.blocks.append(block)
        self.floor, self.price = int(closes[-1]), int(columns.close[-1])
        self.chain = self.chain.extend(pack_columns(block))

    # -- bars -----------------------------------------------------------------------------------------------

    def updates(self) -> list[Bar]:
        """Return the open bars that were touched, in order of open time."""
        touched = self._touched
        if len(touched) == 1:
            (start,) = touched
            return [self.bar(self.open[start], final=False)] if start in self.open else []
        return [self.bar(self.open[start], final=False) for start in sorted(touched) if start in self.open]

    @property
    def touched(self) -> bool:
        """Whether an open bar was changed."""
        return any(start in self.open for start in self._touched)

    def revisions(self) -> list[Bar]:
        """Return the closed bars that were changed, in order of open time."""
        revised = self.revised
        if self.changed:
            revised = revised + [self.bar(self.closed[start]) for start in sorted(self.changed) if start in self.closed]
        if self._retold:
            revised = sorted([*revised, *self._retold.values()], key=lambda bar: bar.open_time)
        return revised

    def pending(self) -> list[Bar]:
        """Return the closed bars that may still be revised, and the flat bars before them, in order of open time."""
        bars = [self.bar(live) for live in self.closed.values()]
        if self._weaving.flats:
            bars += [bar for run in _runs(self.closed, self.floor, self.price) for bar in self._flats(run)]
        return sorted(bars, key=lambda bar: bar.open_time)

    def bar(self, live: Live, *, final: bool = True) -> Bar:
        """Return a bar as the outside sees it, with the flags of its marks."""
        delta, end = live.delta, live.close_time
        flags = delta.flags | _REVISED if live.revision else delta.flags
        for mark in self.marks:
            if self._hits(mark, delta.bucket, end):
                flags |= mark.flag
        return Bar(
            self.contract,
            self._weaving.timeframe,
            delta.bucket,
            end,
            delta.open,
            delta.high,
            delta.low,
            delta.close,
            delta.volume,
            delta.trades,
            delta.notional,
            delta.buy,
            delta.sell,
            live.revision,
            flags,
            final,
        )

    def _flats(self, run: Run) -> list[Bar]:
        """Return the flat bars of a run, in order of open time."""
        after, price, before = run
        if not NEVER < after < before:
            return []
        hours, rule = self.rule.sessions, self.rule
        bars: list[Bar] = []
        while len(bars) < MAX_FLATS:
            moment = hours.last_open(before)
            if moment is None or moment < after:
                break
            before, end = rule.bucket(moment)
            row = Delta(self.contract, before, price, 0, 0, price, price, price, 0, 0, 0, 0, 0, 0, 0, _EMPTY)
            bars.append(self.bar(Live(row, end)))
        bars.reverse()
        return bars


def _runs(closed: Mapping[int, Live], floor: int, price: int) -> Iterator[Run]:
    """Yield the runs between final bars, of which the last ends at `floor`, and closed ones, in order of time."""
    starts = sorted(closed)
    if starts and floor != NEVER:
        yield floor, price, starts[0]
    for start, after in pairwise(starts):
        yield closed[start].close_time, closed[start].delta.close, after


def _at(row: Delta, start: int) -> Delta:
    return row if row.bucket == start else msgspec.structs.replace(row, bucket=start)
