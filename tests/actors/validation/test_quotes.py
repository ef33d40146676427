"""A quote that is crossed or stale is named, counted and kept; no print notices."""

from __future__ import annotations

import pytest

from tickloom.actors.validation.fold import MOST_COUNTED, ValidationFold, report
from tickloom.actors.validation.quotes import QUOTE_REASONS, judge
from tickloom.actors.validation.rules import Rules
from tickloom.messages.control import SessionStarted
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import NS, Instrument, Prints, Quote, Reject

ES = Instrument("CON.F.US.EP.Z25", 1, 4)
T0 = 1_763_990_000 * NS


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (Quote("A", 20 * NS, bid=1.0, ask=1.25), None),
        (Quote("A", 20 * NS, bid=1.0, ask=1.0), None),
        (Quote("A", 20 * NS, bid=1.5, ask=1.25), "quote_crossed"),
        (Quote("A", 20 * NS, bid=1.5), None),
        (Quote("A", 9 * NS, bid=1.0), "quote_stale"),
        (Quote("A", 10 * NS, bid=1.0), None),
    ],
)
def test_a_quote_is_judged_by_what_it_says_and_by_its_age(quote: Quote, reason: str | None) -> None:
    assert judge(quote, 20 * NS, 10 * NS) == reason


def test_rejected_quotes_are_kept_and_counted_and_prints_pass_as_if_they_were_not_there() -> None:
    quotes = [
        Quote(ES.contract, T0, bid=2100.0, ask=2100.25),
        Quote(ES.contract, T0, bid=2101.0, ask=2100.25),
        Quote(ES.contract, T0 - 11 * NS, bid=2100.0),
    ]
    prints = Prints((ES.contract,), [0], [T0], [2100.0], [1], [0], [0], 1)
    frames = Frames("market/1", [T0], [0], None, prints, tuple((0, quote) for quote in quotes))
    started = SessionStarted(recv_ns=T0, version="t", settings={}, instruments=(ES,), timeframes=())
    fold = ValidationFold(Rules())
    state, outputs = fold.step(fold.initial(), [Numbered(1, started), Numbered(2, frames)])
    rejects = [each for each in outputs if isinstance(each, Reject)]
    assert [each.reason for each in rejects] == ["quote_crossed", "quote_stale"]
    assert rejects[0].detail == f"{QUOTE_REASONS['quote_crossed']}: bid 2101, ask 2100.25"
    assert sum(each.weight for each in outputs if isinstance(each, Validated)) == 1
    assert (state.counts.received, state.counts.accepted, state.counts.rejected, state.counts.held) == (1, 1, {}, 0)
    counters = report(state).counters
    assert (counters["quotes_received"], counters["quotes_crossed"], counters["quotes_stale"]) == (3, 1, 1)


@pytest.mark.parametrize("vector_rows", [1, 10**9])
def test_prints_are_counted_by_contract_up_to_a_cap_and_together_beyond_it(vector_rows: int) -> None:
    names = (ES.contract, *(f"CON.F.US.X{i}.Z25" for i in range(400)))
    count = len(names)
    rows = list(range(count))
    prints = Prints(names, rows, [T0] * count, [2100.0] * count, [1] * count, [0] * count, [0] * count, 1)
    started = SessionStarted(recv_ns=T0, version="t", settings={}, instruments=(ES,), timeframes=())
    fold = ValidationFold(Rules(), vector_rows)
    state, _ = fold.step(
        fold.initial(), [Numbered(1, started), Numbered(2, Frames("market/1", [T0], [0], None, prints))]
    )
    contracts = report(state).contracts
    assert len(contracts) <= MOST_COUNTED + 1
    assert contracts.get(ES.contract, contracts[""])[0] == 1
    assert sum(accepted for accepted, _ in contracts.values()) == 1
    assert sum(rejected for _, rejected in contracts.values()) == 400
