"""What was held against what was deliverable, tick by tick. Pure: arrays in, a verdict out.

Every tick of the real gateway has a stamp of its own, so it is known by (contract, stamp). `sent` says how often each
connection was given it: the union of two connections that overlap is the larger count, and that is what must be held
(the larger count, and not the sum: prints have no ids, and a print sent twice on one connection counts twice).

What must hold, contract by contract:

- Nothing is held that was not delivered, or more often than it was. The gateway notes a batch as delivered after it has
  sent it, and does not when the link was ended meanwhile; so what follows a connection's last note, was given to no
  other, and is held, was delivered all the same (`unnoted`).
- Everything delivered is held, unless it lies in a gap: the last of a link that failed may never have arrived.
- Everything not delivered to anybody lies in a gap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Truth(msgspec.Struct):
    """The ticks `first` and on of a contract, by index: stamps strictly rising."""

    first: int
    ts: IntArray
    price: FloatArray
    volume: IntArray
    side: IntArray


class Held(msgspec.Struct):
    """The prints held of a contract, in order of arrival."""

    ts: IntArray
    price: FloatArray
    volume: IntArray
    side: IntArray


class Verdict(msgspec.Struct, frozen=True):
    """What became of a contract's ticks.

    Attributes:
        ticks: from the first delivered to the last.
        held: prints held.
        alien: prints held that are none of the ticks, or other than the tick of their stamp.
        lost: deliveries of ticks that are not held and in no gap.
        doubled: prints held beyond what was delivered.
        unexplained: ticks delivered to nobody, not held, and in no gap.
        missing: ticks not held (all in gaps, when the ones above are 0).
        unnoted: ticks held that a link brought as it was ended, which the gateway did not note.
        gaps: how many.
        gap_s: how long they are together, in seconds.
        needless: ticks held though they lie in a gap.
    """

    ticks: int
    held: int
    alien: int
    lost: int
    doubled: int
    unexplained: int
    missing: int
    unnoted: int
    gaps: int
    gap_s: float
    needless: int

    @property
    def right(self) -> bool:
        """Whether all holds that must."""
        return not (self.alien or self.lost or self.doubled or self.unexplained)


SECOND_NS = 1_000_000_000

BATCH = 512
"""So many ticks, a batch and some that were held back, may have been sent after a connection's last note."""

Runs = Sequence[Sequence[int]]
"""What one connection was given: first and last index of each run, both included, repeats and all."""


def deliveries(runs: Runs, first: int, ticks: int) -> IntArray:
    """Return how often each tick was given to one connection."""
    steps = np.zeros(ticks + 1, dtype=np.int64)
    if len(runs):
        edges = np.asarray(runs, dtype=np.int64) - first
        np.add.at(steps, edges[:, 0], 1)
        np.add.at(steps, edges[:, 1] + 1, -1)
    return np.cumsum(steps[:-1])


def union(sent: Iterable[Runs], first: int, ticks: int) -> IntArray:
    """Return how often each tick must be held: the larger count of those that were given it."""
    most = np.zeros(ticks, dtype=np.int64)
    for runs in sent:
        np.maximum(most, deliveries(runs, first, ticks), out=most)
    return most


def within(truth: Truth, gaps: Iterable[tuple[int, int]]) -> Mask:
    """Return which ticks lie in a gap."""
    inside = np.zeros(len(truth.ts), dtype=np.bool_)
    for start, end in gaps:
        inside[np.searchsorted(truth.ts, start) : np.searchsorted(truth.ts, end)] = True
    return inside


def counted(truth: Truth, held: Held) -> tuple[IntArray, int]:
    """Return how often each tick is held, and how many prints are none of them."""
    if not len(truth.ts):
        return np.zeros(0, dtype=np.int64), len(held.ts)
    at = np.minimum(np.searchsorted(truth.ts, held.ts), len(truth.ts) - 1)
    same = truth.ts[at] == held.ts
    same &= truth.price[at] == held.price
    same &= truth.volume[at] == held.volume
    same &= truth.side[at] == held.side
    return np.bincount(at[same], minlength=len(truth.ts)), int((~same).sum())


def due(truth: Truth, have: IntArray, sent: Sequence[Runs]) -> tuple[IntArray, int]:
    """Return how often each tick must be held, and how many of them the gateway did not note."""
    want = union(sent, truth.first, len(truth.ts))
    ends = np.zeros(len(truth.ts), dtype=np.bool_)
    for runs in sent:
        if len(runs):
            last = max(run[1] for run in runs) - truth.first + 1
            ends[last : last + BATCH] = True
    unnoted = ends & (want == 0) & (have > 0)
    return np.where(unnoted, have, want), int(unnoted.sum())


def judge(truth: Truth, held: Held, sent: Sequence[Runs], gaps: Sequence[tuple[int, int]]) -> Verdict:
    """Return what became of a contract's ticks."""
    have, alien = counted(truth, held)
    want, unnoted = due(truth, have, sent)
    inside = within(truth, gaps)
    short = np.where(inside, 0, np.maximum(want - have, 0))
    return Verdict(
        ticks=len(truth.ts),
        held=len(held.ts),
        alien=alien,
        lost=int(short.sum()),
        doubled=int(np.maximum(have - want, 0).sum()),
        unexplained=int(((want == 0) & (have == 0) & ~inside).sum()),
        missing=int((have == 0).sum()),
        unnoted=unnoted,
        gaps=len(gaps),
        gap_s=round(sum(end - start for start, end in gaps) / 1e9, 3),
        needless=int(((have > 0) & inside).sum()),
    )


# ------------------------------------------------------------------------------------------ bars

Row = tuple[float, float, float, float, int, int]
"""open, high, low, close, volume, trades"""


def bars(truth: Truth, counts: IntArray, width_ns: int) -> dict[int, Row]:
    """Return the bars by open time (ns) that ticks make which are counted so often."""
    there = np.flatnonzero(counts)
    made: dict[int, Row] = {}
    if not len(there):
        return made
    opens = truth.ts[there] // width_ns * width_ns
    edges = [*np.flatnonzero(np.diff(opens, prepend=opens[0] - 1)).tolist(), len(there)]
    price, volume, number = truth.price[there], truth.volume[there], counts[there]
    for a, b in itertools.pairwise(edges):
        inside, times = price[a:b], number[a:b]
        made[int(opens[a])] = (
            float(inside[0]), float(inside.max()), float(inside.min()), float(inside[-1]),
            int((volume[a:b] * times).sum()), int(times.sum()),
        )  # fmt: skip
    return made


def _mended(
    kept: dict[int, Row], whole: dict[int, Row], gaps: Sequence[tuple[int, int]], width_ns: int
) -> dict[int, int]:
    """Return the volumes of bars that were healed from history.

    History has bars of a second, and each tick once. Where a second touches a gap what history has is taken, unless
    more was received (prints that were sent twice); all other seconds are what was received.
    """
    volumes: dict[int, int] = {}
    for second, row in whole.items():
        mine = kept[second][4] if second in kept else 0
        cut = any(start < second + SECOND_NS and end > second for start, end in gaps)
        opened = second // width_ns * width_ns
        volumes[opened] = volumes.get(opened, 0) + (max(mine, row[4]) if cut else mine)
    return volumes


class BarVerdict(msgspec.Struct, frozen=True):
    """How bars compare with those that plain arithmetic makes of the truth.

    `bars`, `in_gaps`, `healed`: how many there are, how many of them touch a gap, how many say they were healed.
    `wrong`: those that are other than they must be, missing, or too many. `unflagged`: those that touch a gap and do
    not say so, or say so and touch none.
    """

    bars: int
    in_gaps: int
    healed: int
    wrong: int
    unflagged: int
    example: str = ""


def judge_bars(
    rows: Iterable[dict[str, Any]],
    truth: Truth,
    held: Held,
    sent: Sequence[Runs],
    gaps: Sequence[tuple[int, int]],
    width_ns: int,
) -> BarVerdict:
    """Compare the bars of a contract and timeframe.

    A bar outside all gaps must be what the union of deliveries makes. One that touches a gap must say so, and be what
    the prints held make; or say that it was healed, and be what all ticks of the truth make (see `_mended`).

    Args:
        rows: the bars, as `Session.table` has them; `open_time` in ns, `flags` as text.
        truth, held, sent, gaps: as in `judge`.
        width_ns: of the timeframe.
    """
    have, _ = counted(truth, held)
    once = np.ones(len(truth.ts), dtype=np.int64)
    delivered = bars(truth, due(truth, have, sent)[0], width_ns)
    kept, whole = bars(truth, have, width_ns), bars(truth, once, width_ns)
    mended = _mended(bars(truth, have, SECOND_NS), bars(truth, once, SECOND_NS), gaps, width_ns)
    counts = dict.fromkeys(("bars", "in_gaps", "healed", "wrong", "unflagged"), 0)
    example, seen = "", set()
    for row in rows:
        opened, flags = int(row["open_time"]), str(row["flags"]).split("|")
        got = tuple(row[name] for name in ("open", "high", "low", "close", "volume", "trades"))
        cut = any(start < opened + width_ns and end > opened for start, end in gaps)
        healed = "healed" in flags
        expected: tuple[Any, ...] | None = (whole if healed else kept if cut else delivered).get(opened)
        if healed and expected is not None:  # history says nothing of the number of trades
            got, expected = got[:5], (*expected[:4], mended[opened])
        counts["bars"] += 1
        counts["in_gaps"] += cut
        counts["healed"] += healed
        if ("gap" in flags or healed) != cut:
            counts["unflagged"] += 1
            example = (
                example or f"the bar at {opened} ns has the flags {row['flags']!r}, and {'a' if cut else 'no'} gap"
            )
        if got != expected:
            counts["wrong"] += 1
            example = example or f"the bar at {opened} ns is {got} and must be {expected}"
        seen.add(opened)
    absent = [opened for opened in kept if opened not in seen]
    if absent:
        counts["wrong"] += len(absent)
        example = example or f"{len(absent)} bars are missing, the first at {absent[0]} ns"
    return BarVerdict(**counts, example=example)
