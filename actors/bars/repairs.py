"""Missing stretches of one contract and what history adds to them: exact arithmetic over whole seconds. Pure.

Theory of operation. A gap says what was not received, to the nanosecond; history speaks in whole seconds (or minutes).
So a gap is widened to whole seconds, and its *edge* seconds hold prints of ours as well. Extremes, open and close can
be merged all the same: what we hold is part of what history holds, so merging it once more changes nothing. Sums
cannot. So from the moment a gap is known the volume that we hold of its seconds is followed, and history adds only what
we lack: the volume of a *cell* (a second, or a minute, that history has spoken of) is the larger of history's and ours.

That stays true for prints that come later still, late or held back: once a cell was given, their volume counts only as
far as ours exceeds history's. So bars do not depend on whether a print came before history or after it, nor on
batches.

A gap may begin before the newest stamp, where stamps do not rise: so the volume of the last `RECENT_NS` is known at any
time. A gap that reaches further back than that is not healed, because what we hold of it is not known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np

from tickloom.actors.bars.deltas import take
from tickloom.actors.bars.seconds import NEVER, WIDTH_NS
from tickloom.actors.bars.state import ALWAYS
from tickloom.messages.bars import Delta, DeltaColumns, Patch
from tickloom.messages.control import Gap, Healed
from tickloom.messages.market import NS

LONGEST_NS = 96 * 3600 * NS
"""A gap longer than this is not healed: a weekend and a holiday are shorter."""

MOST = 64
"""Most gaps of one contract that wait for history at once; further ones stay flagged."""

RECENT_NS = 60 * NS
"""How far behind the newest second with a trade the volume of seconds is known before there is a gap."""

MINUTE_NS = 60 * NS
"""The width of cells where seconds cannot be had."""

Range: TypeAlias = tuple[int, int]


class Recent(msgspec.Struct, frozen=True):
    """The volume received of the last seconds that had trades: of the newest, and of those before it by second (ns)."""

    second: int = NEVER
    volume: int = 0
    before: dict[int, int] = {}

    def volumes(self) -> dict[int, int]:
        """Return the volume by second."""
        return self.before if self.second == NEVER else {**self.before, self.second: self.volume}


class Stretch(msgspec.Struct, frozen=True):
    """A gap that history may fill. `left` are the whole seconds still missing, in order: as ranges `[from, to)` (ns).

    `known` is the contract's newest event stamp (ns) when the gap became known.
    """

    from_ns: int
    to_ns: int
    known: int
    left: tuple[Range, ...]

    @property
    def whole(self) -> Range:
        """The gap, widened to whole seconds."""
        return _whole(self.from_ns, self.to_ns)


class Repairs(msgspec.Struct, frozen=True):
    """One contract's stretches in order of time; the volume received of their seconds; and the cells history gave.

    `held` is by second, `given` by cell: (width, volume). Both hold only what a print may still come for.
    """

    stretches: tuple[Stretch, ...] = ()
    held: dict[int, int] = {}
    given: dict[int, tuple[int, int]] = {}

    @property
    def hold(self) -> int:
        """Bars that end after this must stay open to revision (ns); `ALWAYS`: none need to."""
        return min((stretch.left[0][0] for stretch in self.stretches if stretch.left), default=ALWAYS)

    @property
    def waiting(self) -> int:
        """How many stretches wait for history."""
        return sum(bool(stretch.left) for stretch in self.stretches)


NONE = Repairs()
NO_TRADES = Recent()


def advance(recent: Recent, newest: int, rows: Sequence[Delta], columns: Sequence[DeltaColumns]) -> Recent:
    """Return the volume of the last seconds after further deltas; `newest` is the newest stamp with them."""
    if not columns:  # nearly always: more of the newest second
        volume = recent.volume
        for row in rows:
            if row.bucket != recent.second:
                break
            volume += row.volume
        else:
            return Recent(recent.second, volume, recent.before)
    floor = _floor(newest)
    after = dict(recent.volumes())
    for row in rows:
        after[row.bucket] = after.get(row.bucket, 0) + row.volume
    for block in columns:
        first = int(np.searchsorted(block.bucket, floor))
        for second, volume in zip(block.bucket[first:].tolist(), block.volume[first:].tolist(), strict=True):
            after[second] = after.get(second, 0) + volume
    after = {second: volume for second, volume in after.items() if second >= floor}
    last = max(after, default=NEVER)
    return Recent(last, after.pop(last, 0), after)


def begin(repairs: Repairs, gap: Gap, newest: int, recent: Recent) -> Repairs:
    """Return the repairs with a gap to be healed, or as they are if it cannot be."""
    start, end = _whole(gap.from_ns, gap.to_ns)
    unknown = start < _floor(newest)
    if gap.to_ns <= gap.from_ns or end - start > LONGEST_NS or unknown or repairs.waiting >= MOST:
        return repairs
    held = {second: volume for second, volume in recent.volumes().items() if start <= second < end}
    stretch = Stretch(gap.from_ns, gap.to_ns, newest, ((start, end),))
    return Repairs((*repairs.stretches, stretch), {**held, **repairs.held}, repairs.given)


def account(
    repairs: Repairs, rows: Sequence[Delta], columns: Sequence[DeltaColumns]
) -> tuple[Repairs, list[Delta], list[DeltaColumns]]:
    """Follow deltas that were received; return them with the volume that they add to what history gave."""
    held = dict(repairs.held)

    def add(second: int, volume: int) -> int:
        """Count volume as held; return how much of it is new."""
        start, width = _cell(repairs.given, second)
        before = _held(held, start, width)
        held[second] = held.get(second, 0) + volume
        if start not in repairs.given:
            return volume
        _, known = repairs.given[start]
        return max(known, before + volume) - max(known, before)

    followed = [
        msgspec.structs.replace(row, volume=add(row.bucket, row.volume)) if _touches(repairs, row.bucket) else row
        for row in rows
    ]
    blocks = []
    for block in columns:
        touched: set[int] = set()
        for stretch in repairs.stretches:
            touched.update(range(*np.searchsorted(block.bucket, stretch.whole).tolist()))
        if touched:
            volume = block.volume.copy()
            for at in sorted(touched):
                volume[at] = add(int(block.bucket[at]), int(volume[at]))
            block = take(block, slice(None), volume=volume)
        blocks.append(block)
    return Repairs(repairs.stretches, held, repairs.given), followed, blocks


def heal(repairs: Repairs, healed: Healed, newest: int, late: int, keep_ns: int) -> tuple[Repairs, tuple[Patch, ...]]:
    """Take in a piece of history; return what it adds to the bars: a patch for each part of it that is waited for.

    Args:
        repairs: what is waited for.
        healed: the piece, all of it within one stretch.
        newest: the contract's newest event stamp.
        late: its watermark.
        keep_ns: how far behind the newest stamp a print may still come.
    """
    width = healed.width_ns
    stretches = [s for s in repairs.stretches if s.whole[0] <= healed.from_ns and healed.to_ns <= s.whole[1]]
    parts = _parts(stretches, healed.from_ns, healed.to_ns, width)
    if width not in (WIDTH_NS, MINUTE_NS) or not _sound(healed) or not parts:
        return repairs, ()
    if any(_clashes(repairs.given, at, width) for at in healed.open_ns):
        return repairs, ()  # another piece spoke of part of it, in other cells
    given = dict(repairs.given)
    known = min(stretch.known for stretch in stretches)
    patches = []
    for start, end in parts:
        rows = []
        first, last = (bisect_left(healed.open_ns, edge) for edge in (start, end))
        for i in range(first, last):
            at, volume = healed.open_ns[i], healed.volume[i]
            _, before = given.get(at, (width, 0))
            held = max(_held(repairs.held, at, width), before)
            span = (healed.open[i], at, -1, healed.high[i], healed.low[i], healed.close[i], at + width - 1, ALWAYS)
            rows.append(Delta(healed.contract, at, *span, max(volume - held, 0), 0, 0, 0, 0))
            if newest == NEVER or at + width > newest - keep_ns:
                given[at] = (width, max(volume, before))
        patches.append(Patch(healed.contract, start, end, width, tuple(rows), known, late))
    after = repairs.stretches
    for start, end in parts:
        after = _taken(after, start, end)
    return Repairs(after, repairs.held, given), tuple(patches)


def give_up(repairs: Repairs, from_ns: int, to_ns: int) -> Repairs:
    """Return the repairs without waiting for a piece any more; it is all of it within one stretch, as in `heal`."""
    return Repairs(_taken(repairs.stretches, from_ns, to_ns), repairs.held, repairs.given)


def expire(repairs: Repairs, newest: int, patience_ns: int, keep_ns: int) -> Repairs:
    """Return the repairs without what has waited for too long, and without what no print can come for any more.

    Args:
        repairs: what is waited for.
        newest: the contract's newest event stamp.
        patience_ns: how far the newest stamp may get past a gap's end.
        keep_ns: how far behind the newest stamp a print may still come.
    """
    if newest == NEVER or not repairs.stretches:
        return repairs
    kept = []
    for stretch in repairs.stretches:
        if stretch.left and newest - stretch.to_ns >= patience_ns:
            stretch = msgspec.structs.replace(stretch, left=())
        if stretch.left or stretch.whole[1] > newest - keep_ns:
            kept.append(stretch)
    if len(kept) == len(repairs.stretches):
        return Repairs(tuple(kept), repairs.held, repairs.given)
    after = Repairs(tuple(kept))
    held = {second: volume for second, volume in repairs.held.items() if _touches(after, second)}
    given = {at: cell for at, cell in repairs.given.items() if _touches(after, at)}
    return Repairs(after.stretches, held, given)


def _whole(from_ns: int, to_ns: int) -> Range:
    return from_ns - from_ns % WIDTH_NS, to_ns + -to_ns % WIDTH_NS


def _floor(newest: int) -> int:
    """Return the first second whose volume is known, given the newest stamp."""
    return newest if newest == NEVER else newest - newest % WIDTH_NS - RECENT_NS


def _touches(repairs: Repairs, second: int) -> bool:
    return any(start <= second < end for start, end in (stretch.whole for stretch in repairs.stretches))


def _cell(given: dict[int, tuple[int, int]], at: int) -> tuple[int, int]:
    """Return start and width of the cell that a second lies in; its own, if history has not spoken of it."""
    start = at - at % MINUTE_NS
    return (start, MINUTE_NS) if given.get(start, (0, 0))[0] == MINUTE_NS else (at, WIDTH_NS)


def _clashes(given: dict[int, tuple[int, int]], at: int, width: int) -> bool:
    """Whether history has spoken of part of a cell in cells of another width."""
    if width == WIDTH_NS:
        return _cell(given, at)[1] != width
    return any(given.get(second, (width, 0))[0] != width for second in range(at, at + width, WIDTH_NS))


def _held(held: dict[int, int], start: int, width: int) -> int:
    if width == WIDTH_NS:
        return held.get(start, 0)
    return sum(held.get(second, 0) for second in range(start, start + width, WIDTH_NS))


def _sound(healed: Healed) -> bool:
    """Whether the columns are of one length, and the bars aligned, in order, and within the stretch."""
    width, opens = healed.width_ns, healed.open_ns
    columns = (healed.open, healed.high, healed.low, healed.close, healed.volume)
    return (
        all(len(column) == len(opens) for column in columns)
        and all(at % width == 0 for at in opens)
        and all(a < b for a, b in pairwise(opens))
        and (not opens or (healed.from_ns <= opens[0] and opens[-1] + width <= healed.to_ns))
    )


def _parts(stretches: Sequence[Stretch], start: int, end: int, width: int) -> list[Range]:
    """Return what stretches lack of `[start, end)`, in whole cells, without overlap, in order."""
    lacked = sorted(
        (max(a, start) + -max(a, start) % width, min(b, end) - min(b, end) % width)
        for s in stretches
        for a, b in s.left
    )
    parts: list[Range] = []
    for a, b in lacked:
        if a >= b:
            continue
        if parts and a <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(parts[-1][1], b))
        else:
            parts.append((a, b))
    return parts


def _taken(stretches: tuple[Stretch, ...], start: int, end: int) -> tuple[Stretch, ...]:
    """Return stretches of which those that hold all of `[start, end)` lack it no more.

    One that shares a second with it keeps that: each gap is spoken of by itself.
    """
    return tuple(
        msgspec.structs.replace(s, left=_without(s.left, start, end))
        if s.left and s.whole[0] <= start and end <= s.whole[1]
        else s
        for s in stretches
    )


def _without(ranges: tuple[Range, ...], start: int, end: int) -> tuple[Range, ...]:
    """Return ranges less `[start, end)`."""
    left: list[Range] = []
    for a, b in ranges:
        left += [(a, min(b, start))] if a < start else []
        left += [(max(a, end), b)] if end < b else []
    return tuple(left)
