"""A reduction handed to timeframes along the roll-up plan: each gets rows of its own buckets, made from the rows of the
finer timeframe it feeds from.

Every roll is made once, and a coarse timeframe's from few rows, not from all seconds. It is made where the reduction
is, so no timeframe depends on another one's actor being up. Only columns are rolled: single rows are few, and late
ones keep the second they came under. Merging is associative, so no bar depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tickloom.actors.bars.deltas import COLUMN_ROWS, BarOverflowError, roll_up, run_starts, to_rows
from tickloom.actors.bars.state import BucketRule
from tickloom.messages.bars import Reduced

Rules = Callable[[str], BucketRule]
"""Gives a contract's buckets."""


class Branch(msgspec.Struct, frozen=True):
    """A timeframe's place in the plan: its buckets, and which branch before it has the rows to make its own from."""

    rules: Rules
    source: int | None = None


def roll(reduced: Reduced, rules: Rules) -> Reduced:
    """Return the same message with its columns rolled up to coarser buckets.

    For the timeframe with these buckets and every coarser one that it nests in, the result says the same in fewer rows.

    Raises:
        BarOverflowError: a sum would leave int64.
    """
    if not reduced.columns:
        return reduced
    rows = list(reduced.rows)
    columns = []
    for block in reduced.columns:
        opens, _ = rules(block.contract).buckets(block.bucket)
        rolled = roll_up(block, opens, run_starts(opens))
        if len(rolled) < COLUMN_ROWS:
            rows += to_rows(rolled)
        else:
            columns.append(rolled)
    return msgspec.structs.replace(reduced, rows=tuple(rows), columns=tuple(columns))


def along(plan: Sequence[Branch], reduced: Reduced) -> list[Reduced]:
    """Return what each branch of the plan is told. A branch's source stands before it.

    Where a sum would leave int64 a branch is told what its source is told: its own fold finds out, and who is guilty.
    """
    if not reduced.columns:  # as nearly always, live: nothing to roll
        return [reduced] * len(plan)
    told: list[Reduced] = []
    for branch in plan:
        finer = reduced if branch.source is None else told[branch.source]
        try:
            told.append(roll(finer, branch.rules))
        except BarOverflowError:
            told.append(finer)
    return told
