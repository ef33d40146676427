"""What passes in a lane is what the row function accepts, and nothing that a lane lets pass is any different for it."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.validation.fold import ValidationFold
from tickloom.actors.validation.lanes import Lane, Limits, Rows
from tickloom.actors.validation.rules import Reference, Rules
from tickloom.messages.control import SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints

T0 = 1_763_990_000 * NS
CONTRACTS = ("A", "B", "unheard of")
RULES = (
    Rules(),
    Rules(zero_size="accept", max_size=5, future_ns=0),
    Rules(band=0.0, band_ticks=2, price_low=0.0, price_high=30.0),
    Rules(regressing="reject", lateness_ns=NS),
    Rules(max_age_ns=NS),
    Rules(duplicates="reject"),
    Rules(dry_run=True, band=0.01, band_ticks=1, confirm=2),
)

prices = st.sampled_from([20.0, 20.25, 20.5, 20.75, 25.0, 30.25, 300.0, -5.0, 20.1, 5e11, math.nan, math.inf])
prints = st.tuples(
    st.integers(0, 2),
    st.sampled_from([-2 * NS, -1, 0, 1, 2, NS, 7 * NS, -20 * NS]),
    prices,
    st.sampled_from([1, 1, 1, 0, 5, 6, -1]),
    st.integers(0, 2),
)
runs = st.lists(st.lists(prints, min_size=1, max_size=10), min_size=1, max_size=6)


class Judged(ValidationFold):
    """Has the row function see every print."""

    def limits(self, contract: str, instrument: Instrument) -> Limits:
        made = Limits(self.rules(contract), instrument)
        made.shut = True
        return made


def messages(some: list[list[tuple[int, int, float, int, int]]]) -> list[Numbered]:
    """Return subscriptions, the runs as frames of a print each, and the end of the session."""
    items = [
        Numbered(
            i + 1,
            Subscribed(recv_ns=T0, hub="market", connection=1, contract=name, instrument=Instrument(name, 1, 4)),
        )
        for i, name in enumerate(CONTRACTS[:2])
    ]
    seq, tick = 3, 1
    for number, run in enumerate(some):
        contract, ts, price, size, side = (list(column) for column in zip(*run, strict=True))
        n, now = len(run), T0 + number * NS
        frames = list(range(n))
        stamps = [now + offset for offset in ts]
        found = Prints(CONTRACTS, contract, stamps, price, size, side, frames, tick)
        items.append(Numbered(seq, Frames("market/1", [now + i for i in frames], [1] * n, None, found)))
        seq, tick = seq + n, tick + n
    items.append(Numbered(seq, SessionStopped(recv_ns=T0 + 100 * NS)))
    return items


@given(runs, st.sampled_from(RULES))
def test_what_passes_in_lanes_is_what_the_row_function_accepts(
    some: list[list[tuple[int, int, float, int, int]]], rules: Rules
) -> None:
    quick, slow = ValidationFold(rules), Judged(rules)
    ours, theirs = quick.initial(), slow.initial()
    for message in messages(some):
        ours, said = quick.step(ours, [message])
        theirs, expected = slow.step(theirs, [message])
        # as text, because a price that is no number is not equal to itself
        assert repr(said) == repr(expected)
        assert msgspec.to_builtins(ours) == msgspec.to_builtins(theirs)


def test_an_ordinary_print_passes_in_a_lane_and_one_that_may_not_does_not() -> None:
    accepted: dict[str, Rows] = {}
    lane = Lane("A", Limits(Rules(), Instrument("A", 1, 4)), Reference(T0, 80), accepted)
    assert lane.takes(1, T0 + 1, 20.25, 3, 1, T0 + 1)
    assert (lane.newest, lane.last, lane.count) == (T0 + 1, 81, 1)
    rows = accepted["A"]
    assert (rows.ts, rows.price, rows.size, rows.side, rows.tick) == ([T0 + 1], [81], [3], [1], [1])
    for price, size, ts in ((20.1, 1, T0), (math.nan, 1, T0), (99.0, 1, T0), (20.0, 0, T0), (20.0, 1, T0 + 9 * NS)):
        assert not lane.takes(2, ts, price, size, 1, T0 + 1)
    assert (lane.newest, lane.last, lane.count) == (T0 + 1, 81, 1)


def test_the_rules_of_a_contract_are_worked_out_once_and_anew_when_it_is_another() -> None:
    fold = ValidationFold(Rules())
    first = fold.limits("A", instrument := Instrument("A", 1, 4))
    assert fold.limits("A", instrument) is first
    assert fold.limits("A", Instrument("A", 1, 2)).denominator == 2
