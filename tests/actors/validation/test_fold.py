"""Validation: every print ends in exactly one bin, whatever path, batch or rubbish it came by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.actors.validation.fold import ValidationFold, ValidationState
from tickloom.actors.validation.rules import FIRST_NS, REASONS, Rules
from tickloom.messages.control import ClockMeasured, Gap, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import NS, Instrument, Malformed, Prints, Reject, Trades, as_list
from tickloom.messages.reports import FeedState, Report

ES = Instrument("CON.F.US.EP.Z25", 1, 4, symbol="F.US.EP")
CL = Instrument("CON.F.US.CLE.F26", 1, 100, symbol="F.US.CLE")
T0 = 1_763_990_000 * NS
Row = tuple[str, int, float, int]  # contract, stamp, price, size


def started(seq: int = 1) -> Numbered:
    record = SessionStarted(recv_ns=T0, version="t", settings={}, instruments=(ES, CL), timeframes=())
    return Numbered(seq, record)


def frames(
    seq: int, rows: Sequence[Row], first_tick: int, recv_ns: int = T0, malformed: tuple[Malformed, ...] = ()
) -> Numbered:
    names = tuple(dict.fromkeys(row[0] for row in rows))
    prints = Prints(
        contracts=names,
        contract=[names.index(row[0]) for row in rows],
        ts_ns=[row[1] for row in rows],
        price=[row[2] for row in rows],
        size=[row[3] for row in rows],
        side=[0] * len(rows),
        frame=[0] * len(rows),
        first_tick=first_tick,
    )
    return Numbered(seq, Frames("market/1", [recv_ns], [0], None, prints, malformed=malformed))


def run(
    fold: ValidationFold, messages: Sequence[Numbered], cuts: Sequence[int] = ()
) -> tuple[ValidationState, list, list[Reject]]:
    """Feed `messages` in batches cut at `cuts`; return the state, accepted rows by (contract, tick), rejects."""
    state, rows, rejects = fold.initial(), [], []
    edges = [0, *sorted(set(cuts)), len(messages)]
    for a, b in itertools.pairwise(edges):
        state, outputs = fold.step(state, messages[a:b])
        for output in outputs:
            if isinstance(output, Report | FeedState | Instrument):
                continue
            if isinstance(output, Reject):
                rejects.append(output)
                continue
            assert isinstance(output, Validated)
            for item in output.items:
                if isinstance(item, Trades):
                    columns = (item.tick, item.ts_ns, item.price, item.size, item.side)
                    rows += [(item.contract, *row) for row in zip(*map(as_list, columns), strict=True)]
    return state, sorted(rows), sorted(rejects, key=lambda r: (r.contract, r.tick))


def accepted(rows: Sequence[Row], rules: Rules | None = None) -> list[float]:
    fold = ValidationFold(rules or Rules())
    _, got, _ = run(fold, [started(), frames(2, rows, 1)])
    return [row[3] for row in got]


def reasons(rows: Sequence[Row], rules: Rules | None = None, *, stop: bool = False) -> list[str]:
    messages = [started(), frames(2, rows, 1)]
    if stop:
        messages.append(Numbered(3, SessionStopped(recv_ns=T0)))
    _, _, rejects = run(ValidationFold(rules or Rules()), messages)
    return [r.reason for r in rejects]


def test_a_good_print_becomes_exact_ticks() -> None:
    assert accepted([(ES.contract, T0, 2100.25, 3)]) == [8401]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("CON.F.US.XXX.Z25", T0, 1.0, 1), "unknown_contract"),
        ((ES.contract, T0, math.nan, 1), "not_finite"),
        ((ES.contract, T0, math.inf, 1), "not_finite"),
        ((ES.contract, T0, 1.7976931348623157e308, 1), "off_grid"),
        ((ES.contract, T0, 2100.30, 1), "off_grid"),
        ((ES.contract, T0, 2100.25, -1), "size_negative"),
        ((ES.contract, T0, 2100.25, 0), "size_zero"),
        ((ES.contract, T0, 2100.25, 10**7), "size_large"),
        ((ES.contract, T0 + 6 * NS, 2100.25, 1), "future"),
        ((ES.contract, FIRST_NS - 1, 2100.25, 1), "out_of_time"),
        ((ES.contract, T0 - 11 * NS, 2100.25, 1), "late"),
        ((ES.contract, T0 - 1, 2100.25, 1), "regressing"),
        ((ES.contract, T0, 2100.00, 2), "duplicate"),
        ((ES.contract, T0, 2000.00, 1), "out_of_range"),
        ((ES.contract, T0, 2200.25, 1), "out_of_range"),
        ((ES.contract, T0, 2350.00, 1), "jump"),
    ],
)
@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_a_bad_print_is_rejected_by_name_and_its_neighbours_pass(row: Row, reason: str, vector_rows: int) -> None:
    wide = reason == "jump"
    rules = Rules(
        regressing="reject",
        duplicates="reject",
        price_low=None if wide else 2050.0,
        price_high=None if wide else 2200.0,
    )
    rows = [(ES.contract, T0, 2100.00, 2), row, (ES.contract, T0, 2100.00, 1)]
    _, got, rejects = run(ValidationFold(rules, vector_rows), [started(), frames(2, rows, 1)])
    assert [r.reason for r in rejects] == [reason]
    assert [row[3] for row in got] == [8400, 8400]
    assert reason in REASONS


def test_every_reason_there_is_was_tried() -> None:
    tried = {mark.args[1][i][1] for mark in test_a_bad_print_is_rejected_by_name_and_its_neighbours_pass.pytestmark
             if mark.args[0] == ("row", "reason") for i in range(len(mark.args[1]))}  # fmt: skip
    assert tried | {"old"} == set(REASONS), "and `old` has a test of its own"


@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_a_stamp_older_than_allowed_is_rejected_where_a_bound_is_set(vector_rows: int) -> None:
    rows = [(ES.contract, T0 - 9 * NS, 2100.0, 1), (ES.contract, T0 - 3 * NS, 2100.0, 1)]
    assert reasons(rows) == []
    _, got, rejects = run(ValidationFold(Rules(max_age_ns=5 * NS), vector_rows), [started(), frames(2, rows, 1)])
    assert [(r.tick, r.reason) for r in rejects] == [(1, "old")]
    assert len(got) == 1


@pytest.mark.parametrize(
    ("rows", "rules", "words"),
    [
        ([2100.0, 0.25, 2100.0], {}, "last 2100, band 210 either way"),
        ([2100.3], {}, "tick size 0.25"),
        ([2100.0], {"price_high": 2000.0}, "range -inf to 2000"),
    ],
)
def test_a_rejected_print_says_what_it_was_held_against(rows: list[float], rules: dict, words: str) -> None:
    fold = ValidationFold(Rules(**rules))
    _, _, rejects = run(fold, [started(), frames(2, [(ES.contract, T0, price, 1) for price in rows], 1)])
    (reject,) = rejects
    assert reject.detail == f"{REASONS[reject.reason]}: {words}"


def test_a_contract_may_have_rules_of_its_own() -> None:
    strict, loose = Rules(max_size=10), Rules(max_size=1000)
    fold = ValidationFold(lambda contract: strict if contract == CL.contract else loose)
    rows = [(ES.contract, T0, 2100.0, 500), (CL.contract, T0, 60.0, 500)]
    _, got, rejects = run(fold, [started(), frames(2, rows, 1)])
    assert [row[0] for row in got] == [ES.contract]
    assert [(r.contract, r.reason) for r in rejects] == [(CL.contract, "size_large")]
    assert "largest 10" in rejects[0].detail


@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_a_stamp_is_in_the_future_only_beyond_what_the_gateways_clock_was_measured_to_be_ahead(
    vector_rows: int,
) -> None:
    ahead = Numbered(2, ClockMeasured(recv_ns=T0, offset_ns=20 * NS, uncertainty_ns=NS))
    rows = [(ES.contract, T0 + 25 * NS, 2100.0, 1), (ES.contract, T0 + 27 * NS, 2100.0, 1)]
    fold = ValidationFold(Rules(), vector_rows)
    _, got, rejects = run(fold, [started(), ahead, frames(3, rows, 1)], cuts=[2])
    assert [row[1] for row in got] == [1]
    assert [(r.tick, r.reason) for r in rejects] == [(2, "future")]


def test_equal_prints_in_one_instant_are_trades_unless_the_rules_say_otherwise() -> None:
    rows = [(ES.contract, T0, 2100.0, 1)] * 5
    assert accepted(rows) == [8400] * 5
    assert reasons(rows, Rules(duplicates="reject")) == ["duplicate"] * 4


def test_a_frame_delivered_again_is_rejected_whole_where_duplicates_are() -> None:
    frame = [(ES.contract, T0, 2100.0, 1), (ES.contract, T0, 2100.25, 2), (ES.contract, T0, 2100.0, 3)]
    later = [(ES.contract, T0 + 1, 2100.0, 1)]
    messages = [started(), frames(2, frame, 1), frames(3, frame, 4), frames(4, later, 7), frames(5, later, 8)]
    for vector_rows in (1, 10**9):
        _, got, rejects = run(ValidationFold(Rules(duplicates="reject"), vector_rows), messages, cuts=[2, 4])
        assert [row[1] for row in got] == [1, 2, 3, 7]
        assert [(r.tick, r.reason) for r in rejects] == [(tick, "duplicate") for tick in (4, 5, 6, 8)]


def test_size_zero_passes_when_the_rules_say_so() -> None:
    assert accepted([(ES.contract, T0, 2100.0, 0)], Rules(zero_size="accept")) == [8400]


def test_a_lone_jump_is_rejected_when_the_price_comes_back() -> None:
    rows = [(ES.contract, T0, p, 1) for p in (2100.0, 0.25, 2100.25)]
    assert reasons(rows) == ["jump"]
    assert accepted(rows) == [8400, 8401]


def test_a_jump_confirmed_by_the_prints_after_it_is_a_move_and_loses_nothing() -> None:
    rows = [(ES.contract, T0, p, 1) for p in (2100.0, 1500.0, 1500.25, 1499.75, 1500.0)]
    assert reasons(rows) == []
    assert accepted(rows) == [8400, 6000, 6001, 5999, 6000]


def test_an_unconfirmed_jump_is_rejected_when_the_session_stops() -> None:
    rows = [(ES.contract, T0, 2100.0, 1), (ES.contract, T0, 1500.0, 1)]
    assert reasons(rows) == []
    assert reasons(rows, stop=True) == ["jump"]


def test_crude_oil_may_walk_below_zero() -> None:
    prices = [0.5 - 0.25 * i for i in range(20)]
    assert accepted([(CL.contract, T0, p, 1) for p in prices]) == [round(p * 100) for p in prices]


def test_a_dry_run_names_what_it_would_reject_and_lets_it_pass() -> None:
    rows = [
        (ES.contract, T0, 2100.0, 1),
        (ES.contract, T0, 1500.0, 1),
        (ES.contract, T0, 2100.25, 0),
        (ES.contract, T0, 2100.3, 1),
    ]
    rules = Rules(dry_run=True, zero_size="reject")
    state, got, rejects = run(ValidationFold(rules), [started(), frames(2, rows, 1)])
    assert [row[3] for row in got] == [8400, 6000, 8401]
    assert state.counts.flagged == {"jump": 2, "size_zero": 1}
    assert state.counts.rejected == {"off_grid": 1}
    assert {r.tick: r.reason for r in rejects if "dry run" not in r.detail} == {4: "off_grid"}


def test_malformed_prints_count_as_received_and_rejected() -> None:
    bad = Malformed(0, "schema", "price is a string", prints=2)
    state, rows, rejects = run(
        ValidationFold(Rules()), [started(), frames(2, [(ES.contract, T0, 2100.0, 1)], 1, malformed=(bad,))]
    )
    assert (state.counts.received, len(rows), state.counts.rejected, len(rejects)) == (3, 1, {"schema": 2}, 1)


def test_a_record_fed_twice_counts_once() -> None:
    fold = ValidationFold(Rules())
    item = frames(2, [(ES.contract, T0, 2100.0, 1)], 1)
    state, rows, _ = run(fold, [started(), item, item, started(), item])
    assert (state.counts.accepted, len(rows)) == (1, 1)


_prices = st.one_of(
    st.integers(8380, 8420).map(lambda t: t / 4),
    st.integers(8380, 8420).map(lambda t: t / 4),
    st.sampled_from([0.0, -2100.0, 1500.0, 1500.25, 2100.1, math.nan, math.inf, -math.inf, 1e308, 1e-300]),
    st.floats(),
)
_rows = st.tuples(
    st.sampled_from([ES.contract, ES.contract, CL.contract, "CON.F.US.NOPE.Z25"]),
    st.integers(-15, 8).map(lambda s: T0 + s * NS),
    _prices,
    st.sampled_from([1, 2, 5, 0, -1, 10**6, 10**7, 2**62]),
)


_rules = st.builds(
    Rules,
    zero_size=st.sampled_from(["accept", "reject"]),
    regressing=st.sampled_from(["accept", "reject"]),
    duplicates=st.sampled_from(["accept", "reject"]),
    max_age_ns=st.sampled_from([0, 12 * NS]),
    price_low=st.sampled_from([None, 0.0, 2097.0]),
    price_high=st.sampled_from([None, 2103.0]),
    confirm=st.integers(1, 3),
    dry_run=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    batches=st.lists(st.lists(_rows, min_size=1, max_size=40), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 7), max_size=5),
    stop=st.booleans(),
    rules=_rules,
)
def test_rows_and_arrays_agree_under_any_rubbish_any_rules_and_any_batching(
    batches: list[list[Row]], cuts: list[int], stop: bool, rules: Rules
) -> None:
    messages, tick = [started()], 1
    for i, rows in enumerate(batches):
        messages.append(frames(2 + i, rows, tick))
        tick += len(rows)
    if stop:
        messages.append(Numbered(2 + len(batches), SessionStopped(recv_ns=T0)))
    by_row, rows_a, rejects_a = run(ValidationFold(rules, vector_rows=10**9), messages)
    by_array, rows_b, rejects_b = run(
        ValidationFold(rules, vector_rows=1), messages, [c for c in cuts if c < len(messages)]
    )
    assert rows_a == rows_b
    said_a, said_b = ([(r.contract, r.tick, r.reason, r.detail) for r in each] for each in (rejects_a, rejects_b))
    assert said_a == said_b
    assert by_row == by_array
    bins = sorted([row[1] for row in rows_a] + [r.tick for r in rejects_a if "dry run" not in r.detail])
    held = [h.tick for reference in by_row.references.values() for h in reference.held]
    assert sorted(bins + held) == list(range(1, tick)), "every print is in exactly one bin"
    assert by_row.counts.held == len(held)
    assert not (stop and held)


@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_a_contract_is_heard_of_when_its_own_print_comes_and_not_when_another_ones_does(vector_rows: int) -> None:
    fold = ValidationFold(Rules(), vector_rows)
    first = frames(2, [(ES.contract, T0, 1.0, 1), (CL.contract, T0, 1.0, 1)], 0, recv_ns=T0)
    # the table of contracts names both; only one of them has a print
    prints = Prints((ES.contract, CL.contract), [1, 1], [T0, T0], [1.0, 1.0], [1, 1], [0, 0], [0, 2], 2)
    later = Numbered(3, Frames("market/1", [T0 + 1, T0 + 2, T0 + 3], [0, 0, 0], None, prints))
    state, _ = fold.step(fold.initial(), [started(), first, later])
    assert state.receipts == {ES.contract: T0, CL.contract: T0 + 3}


def test_where_a_session_begins_or_ends_a_message_has_a_number_of_its_own() -> None:
    fold = ValidationFold(Rules())
    rows = [(ES.contract, T0, 1.0, 1)]
    stopped = Numbered(3, SessionStopped(recv_ns=T0))
    messages = [started(), frames(2, rows, 0), stopped, started(4), frames(5, rows, 1)]
    _, outputs = fold.step(fold.initial(), messages)
    passed = [output for output in outputs if isinstance(output, Validated)]
    kinds = [(message.seq, [type(item) for item in message.items], message.weight) for message in passed]
    assert kinds == [
        (1, [SessionStarted], 0),
        (2, [Trades], 1),
        (3, [SessionStopped], 0),
        (4, [SessionStarted], 0),
        (5, [Trades], 1),
    ]


def test_a_gap_of_the_log_itself_is_a_gap_of_every_contract() -> None:
    messages = [
        started(),
        frames(2, [(ES.contract, T0, 2100.0, 1), (CL.contract, T0, 60.0, 1)], 1),
        Numbered(3, Gap(recv_ns=T0, contract="", from_ns=T0, to_ns=T0 + NS, cause="the disk was full")),
        Numbered(4, Gap(recv_ns=T0, contract="", from_ns=T0, to_ns=T0, cause="nothing was lost")),
    ]
    fold = ValidationFold(Rules())
    _, outputs = fold.step(fold.initial(), messages)
    gaps = [
        item for output in outputs if isinstance(output, Validated) for item in output.items if isinstance(item, Gap)
    ]
    assert sorted((gap.contract, gap.from_ns, gap.to_ns) for gap in gaps) == [
        (CL.contract, T0, T0 + NS),
        (ES.contract, T0, T0 + NS),
    ]
