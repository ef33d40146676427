"""A million rows of rubbish among good ones: no crash, each row in exactly one bin, and the good rows untouched.

The mix is hypothesis' to choose. Everyday runs take some thousands of rows, the long form a million.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.validation.fold import ValidationFold
from tickloom.actors.validation.rules import END_NS, FIRST_NS, REASONS, Rules
from tickloom.config.buckets import BucketRule
from tickloom.config.calendars import find_calendar
from tickloom.config.timeframes import Timeframe
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import NS, Instrument, Prints, Reject, Trades, as_int64

ES = Instrument("CON.F.US.EP.Z25", 1, 4)
NOPE = "CON.F.US.NOPE.Z25"
T0 = 1_763_990_000 * NS
RULES = Rules(duplicates="accept", price_low=100.0, price_high=20_000.0, max_size=1000)

KINDS = (
    "not_finite", "off_grid", "out_of_range", "size_negative", "size_zero", "size_large", "future", "late", "jump",
    "unknown_contract",
)  # fmt: skip


def mixed(seed: int, rows: int, share: float, kinds: tuple[str, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of `rows` prints, and which of them are rubbish: good ones are a random walk with rising stamps."""
    rng = np.random.default_rng(seed)
    ticks = 20_000 + np.cumsum(rng.integers(-2, 3, rows))
    ticks = 20_000 + np.clip(ticks - 20_000, -800, 800)
    ts = T0 + np.cumsum(rng.integers(0, 2_000_000, rows))
    columns = {
        "contract": np.zeros(rows, dtype=np.int64),
        "ts": ts.copy(),
        "price": ticks / 4,
        "size": rng.integers(1, 50, rows),
        "recv": ts + 1_000_000,
    }
    bad = rng.random(rows) < share
    bad[0] = False
    for kind in kinds:
        chosen = np.flatnonzero(bad & (rng.integers(0, len(kinds), rows) == kinds.index(kind)))
        match kind:
            case "not_finite":
                columns["price"][chosen] = rng.choice([np.nan, np.inf, -np.inf], len(chosen))
            case "off_grid":
                columns["price"][chosen] += rng.choice([0.1, 0.01, 1e-4, -0.07], len(chosen))
            case "out_of_range":
                columns["price"][chosen] = rng.choice([99.75, -5000.0, 0.0, 20_000.25, 1e15], len(chosen))
            case "size_negative":
                columns["size"][chosen] = -rng.integers(1, 2**62, len(chosen))
            case "size_zero":
                columns["size"][chosen] = 0
            case "size_large":
                columns["size"][chosen] = rng.integers(1001, 2**62, len(chosen))
            case "future":
                columns["ts"][chosen] = columns["recv"][chosen] + rng.integers(5 * NS + 1, 2**40, len(chosen))
            case "late":
                columns["ts"][chosen] -= rng.integers(20 * NS, 2**50, len(chosen))
            case "jump":  # near nothing, and not near one another
                far = 30_000 + 8_000 * (np.arange(len(chosen)) % 5)
                columns["price"][chosen] = far / 4
            case "unknown_contract":
                columns["contract"][chosen] = 1
    unlike = (columns["price"] == ticks / 4) & (columns["ts"] == ts) & (columns["contract"] == 0)
    return columns, bad & ~(unlike & (columns["size"] > 0) & (columns["size"] <= 1000))


def judged(columns: dict[str, np.ndarray], batch: int) -> tuple[dict[int, tuple[int, int, int]], list[Reject], dict]:
    """Accepted rows by arrival number, rejects, and the exact totals."""
    fold = ValidationFold(RULES)
    started = SessionStarted(recv_ns=T0, version="t", settings={}, instruments=(ES,), timeframes=())
    state, _ = fold.step(fold.initial(), [Numbered(1, started)])
    rows, rejects = {}, []
    total = len(columns["ts"])

    def take(outputs: list) -> None:
        for output in outputs:
            if isinstance(output, Reject):
                rejects.append(output)
            elif isinstance(output, Validated):
                for item in output.items:
                    if isinstance(item, Trades):
                        values = (
                            as_int64(column).tolist() for column in (item.tick, item.ts_ns, item.price, item.size)
                        )
                        rows.update((tick, rest) for tick, *rest in zip(*values, strict=True))

    seq = 2
    for first in range(0, total, batch):
        part = {name: column[first : first + batch] for name, column in columns.items()}
        count = len(part["ts"])
        names, side = (ES.contract, NOPE), np.zeros(count, dtype=np.int64)
        prints = Prints(names, part["contract"], part["ts"], part["price"], part["size"], side, np.arange(count), first)
        frames = Frames("market/1", part["recv"], part["recv"], None, prints)
        state, outputs = fold.step(state, [Numbered(seq, frames)])
        take(outputs)
        seq += count
    state, outputs = fold.step(state, [Numbered(seq, SessionStopped(recv_ns=T0))])
    take(outputs)
    return (
        rows,
        rejects,
        {"received": state.counts.received, "accepted": state.counts.accepted, **state.counts.rejected},
    )


def hold_to_account(seed: int, rows: int, share: float, kinds: tuple[str, ...], batch: int) -> None:
    columns, bad = mixed(seed, rows, share, kinds)
    accepted, rejects, totals = judged(columns, batch)
    assert sorted([*accepted, *(reject.tick for reject in rejects)]) == list(range(rows)), "one bin each"
    assert totals["received"] == rows
    assert totals["accepted"] == len(accepted)
    assert {reject.reason for reject in rejects} <= set(REASONS)
    good = np.flatnonzero(~bad).tolist()
    assert [i for i in good if i not in accepted] == []
    expected = zip(columns["ts"][good], np.rint(columns["price"][good] * 4), columns["size"][good], strict=True)
    assert [tuple(accepted[i]) for i in good] == [(int(t), int(p), int(s)) for t, p, s in expected]
    assert set(accepted) == set(good)


_kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=len(KINDS), unique=True).map(tuple)
_mixes = {
    "seed": st.integers(0, 2**32),
    "share": st.floats(0.0, 0.6),
    "kinds": _kinds,
    "batch": st.sampled_from([1000, 4096, 65_536]),
}


@settings(max_examples=15, deadline=None)
@given(**_mixes)
def test_thousands_of_rows_of_rubbish(seed: int, share: float, kinds: tuple[str, ...], batch: int) -> None:
    hold_to_account(seed, 1500, share, kinds, batch)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=25, deadline=None)
@given(**_mixes)
def test_a_million_rows_of_rubbish(seed: int, share: float, kinds: tuple[str, ...], batch: int) -> None:
    hold_to_account(seed, 40_000, share, kinds, batch)


@pytest.mark.parametrize("vector_rows", [1, 1000])
def test_a_stamp_that_no_calendar_holds_is_rejected_by_name_and_the_prints_around_it_pass(vector_rows: int) -> None:
    stamps = [T0 + second * NS for second in range(6)]
    edges = {2: END_NS, 4: FIRST_NS - 1}
    stamps = [edges.get(row, stamp) for row, stamp in enumerate(stamps)]
    count = len(stamps)
    prints = Prints((ES.contract,), [0] * count, stamps, [2500.0] * count, [1] * count, [0] * count, [*range(count)], 0)
    started = SessionStarted(recv_ns=T0, version="t", settings={}, instruments=(ES,), timeframes=())
    frames = Frames("market/1", stamps, [0] * count, None, prints)
    fold = ValidationFold(Rules(lateness_ns=2**62), vector_rows)
    _, outputs = fold.step(fold.initial(), [Numbered(1, started), Numbered(2, frames)])
    rejects = [output for output in outputs if isinstance(output, Reject)]
    assert [(reject.tick, reject.reason) for reject in rejects] == [(2, "out_of_time"), (4, "out_of_time")]
    assert all("1690 to 2250" in reject.detail for reject in rejects)
    (trades,) = (item for output in outputs if isinstance(output, Validated) for item in output.items
                 if isinstance(item, Trades))  # fmt: skip
    assert list(trades.tick) == [0, 1, 3, 5]


@pytest.mark.parametrize("stamp", [END_NS - NS, FIRST_NS + NS])
def test_every_stamp_that_passes_has_its_bars(stamp: int) -> None:
    for timeframe in ("1s", "1h", "1d", "12mo"):
        start, end = BucketRule(find_calendar("cme_equity"), Timeframe.parse(timeframe)).bucket(stamp)
        assert start <= stamp < end
