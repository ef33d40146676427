from __future__ import annotations

from typing import Any

import pytest

from tickloom.actors.bars import repairs
from tickloom.actors.bars.repairs import Repairs
from tickloom.actors.healing.core import UNTAKEN_NS, Healer, Pace, Question
from tickloom.messages.control import Gap, Healed, Unhealed
from tickloom.messages.market import NS, Instrument
from tickloom.messages.projectx import HistoryBar
from tickloom.messages.stamps import format_stamp

T0 = 1_700_000_000 * NS - 1_700_000_000 * NS % (3600 * NS)
MINUTE = 60 * NS
HOUR = 60 * MINUTE
MNQ = Instrument("MNQ", 1, 4)
PACE = Pace(delay_ns=3 * NS, patience_ns=600 * NS, base_ns=2 * NS, cap_ns=60 * NS)


def healer() -> Healer:
    return Healer(PACE, "the test", lambda: 1.0)


def missing(*spans: tuple[int, int], held: dict[int, int] | None = None, contract: str = "MNQ") -> dict[str, Repairs]:
    """What the bars wait for: gaps in seconds from `T0`, and the volume held of some seconds."""
    known = Repairs()
    for start, end in spans:
        gap = Gap(recv_ns=0, contract=contract, from_ns=T0 + start * NS, to_ns=T0 + end * NS, cause="test")
        known = repairs.begin(known, gap, gap.from_ns, repairs.NO_TRADES)
    return {contract: Repairs(known.stretches, {T0 + s * NS: v for s, v in (held or {}).items()})}


def bar(second: int, price: float = 100.0, volume: int = 1, **prices: float) -> HistoryBar:
    row: dict[str, Any] = {"o": price, "h": price, "l": price, "c": price, **prices}
    return HistoryBar(t=format_stamp(T0 + second * NS), v=volume, **row)


def span(record: Healed | Unhealed) -> tuple[str, int, int]:
    kind = "healed" if isinstance(record, Healed) else "unhealed"
    return kind, (record.from_ns - T0) // NS, (record.to_ns - T0) // NS


def test_a_stretch_is_asked_for_in_seconds_when_it_is_over_and_history_has_had_time() -> None:
    heal, what = healer(), missing((10, 20), held={10: 4, 19: 1})
    end = T0 + 20 * NS
    assert heal.see(what, end) == []
    assert heal.next(end + PACE.delay_ns - 1) is None
    assert heal.next(end + PACE.delay_ns) == Question("MNQ", T0 + 10 * NS, end, NS)
    answer = [
        bar(19, 101.25),
        bar(12, 100.5, 7, h=101.0, l=100.25, c=100.75),
        bar(10, volume=5),
        bar(20),
        bar(11, volume=0),
    ]
    [record] = heal.answered(answer, MNQ, end + 4 * NS)
    assert isinstance(record, Healed)
    assert record.open_ns == (T0 + 10 * NS, T0 + 12 * NS, T0 + 19 * NS), "oldest first; of its own time, with volume"
    assert (record.open, record.high) == ((400, 402, 405), (400, 404, 405))
    assert (record.low, record.close, record.volume) == ((400, 401, 405), (400, 403, 405), (5, 7, 1))
    assert (record.width_ns, record.source, span(record)) == (NS, "the test", ("healed", 10, 20))
    heal.see(what, end + 5 * NS)
    assert heal.next(end + 5 * NS) is None, "while the bars have not taken it, it is not asked for again"
    heal.see({}, end + 6 * NS)
    assert (heal.waiting, heal.counters) == (0, {"asked": 1, "healed": 1, "bars": 3})


def test_a_long_stretch_is_cut_at_the_hours_and_the_oldest_piece_comes_first() -> None:
    heal = healer()
    what = missing((3000, 9000)) | missing((3500, 3600), contract="EP")
    now = T0 + 10_000 * NS
    heal.see(what, now)
    asked = []
    while (question := heal.next(now)) is not None:
        asked.append((question.contract, (question.from_ns - T0) // NS, (question.to_ns - T0) // NS))
        heal.answered([bar(each) for each in range(3000, 9000, 7)], MNQ, now)
    assert asked == [("MNQ", 3000, 3600), ("EP", 3500, 3600), ("MNQ", 3600, 7200), ("MNQ", 7200, 9000)]


def test_history_that_does_not_reach_what_was_received_yet_is_asked_again() -> None:
    heal, what = healer(), missing((10, 20), held={10: 1, 19: 1})
    now = T0 + 30 * NS
    heal.see(what, now)
    assert heal.next(now) is not None
    assert heal.answered([bar(10), bar(15)], MNQ, now) == [], "prints of second 19 are here, but not there"
    assert heal.next(now + 2 * NS - 1) is None
    assert heal.next(now + 2 * NS) is not None
    assert heal.answered([], MNQ, now + 2 * NS) == []
    assert heal.next(now + 6 * NS - 1) is None, "the pause doubles"
    assert heal.next(now + 6 * NS) is not None
    [record] = heal.answered([bar(10), bar(19)], MNQ, now + 6 * NS)
    assert span(record) == ("healed", 10, 20)


def test_what_never_comes_is_given_up_when_patience_ends() -> None:
    heal, what = healer(), missing((10, 20), held={19: 1})
    now = T0 + 30 * NS
    given_up = heal.see(what, now)
    attempts = 0
    while not given_up and attempts < 100:
        given_up = heal.see(what, now)
        if not given_up and heal.next(now) is not None:
            attempts += 1
            given_up = [r for r in heal.failed("the gateway is gone", now) if isinstance(r, Unhealed)]
        now += NS
    [record] = given_up
    assert (span(record), record.reason) == (("unhealed", 10, 20), "the gateway is gone")
    assert 530 < (now - T0) / NS - 30 < 602
    assert 10 < attempts < 20, "pauses grow to a minute"
    assert heal.counters["unhealed"] == 1


def test_a_wait_that_the_gateway_asks_for_is_kept() -> None:
    heal, now = healer(), T0 + 30 * NS
    heal.see(missing((10, 20)), now)
    heal.next(now)
    heal.failed("429", now, 25.0)
    assert heal.next(now + 25 * NS - 1) is None
    assert heal.next(now + 25 * NS) is not None


def test_what_the_gateway_refuses_is_given_up_at_once() -> None:
    heal, now = healer(), T0 + 30 * NS
    heal.see(missing((10, 20)), now)
    heal.next(now)
    [record] = heal.refused("no such contract", now)
    assert (span(record), record.reason) == (("unhealed", 10, 20), "no such contract")
    assert heal.next(now + HOUR) is None


def test_where_seconds_are_not_kept_minutes_heal_what_they_cover_and_the_rest_stays() -> None:
    heal, what = healer(), missing((30, 250), held={30: 1, 249: 2})
    now = T0 + HOUR
    heal.see(what, now)
    heal.next(now)
    assert heal.answered([bar(240), bar(249)], MNQ, now) == [], "seconds begin after what we hold"
    assert heal.next(now) == Question("MNQ", T0 + MINUTE, T0 + 4 * MINUTE, MINUTE)
    records = heal.answered([bar(60), bar(180, volume=9)], MNQ, now)
    assert [span(record) for record in records] == [("healed", 60, 240), ("unhealed", 30, 60), ("unhealed", 240, 250)]
    assert isinstance(records[0], Healed)
    assert (records[0].width_ns, records[0].open_ns) == (MINUTE, (T0 + MINUTE, T0 + 3 * MINUTE))
    # the bars have taken the first record only, so far
    after, _ = repairs.heal(what["MNQ"], records[0], now, now, 0)
    heal.see({"MNQ": after}, now + NS)
    assert heal.next(now + NS) is None, "the rest of an answered piece is no new one"


@pytest.mark.parametrize(("minutes", "volume"), [([], 0), ([bar(60, volume=0)], 0), ([bar(60)], 1)])
def test_no_bar_at_all_means_nothing_was_traded_only_if_minutes_say_so_too(
    minutes: list[HistoryBar], volume: int
) -> None:
    heal, now = healer(), T0 + HOUR
    heal.see(missing((30, 250)), now)
    heal.next(now)
    assert heal.answered([], MNQ, now) == []
    question = heal.next(now)
    assert question is not None
    assert question.width_ns == MINUTE
    records = heal.answered(minutes, MNQ, now)
    if volume:
        assert [span(record) for record in records] == [
            ("healed", 60, 240),
            ("unhealed", 30, 60),
            ("unhealed", 240, 250),
        ]
    else:
        assert [span(record) for record in records] == [("healed", 30, 250)]
    assert isinstance(records[0], Healed)
    assert sum(records[0].volume) == volume


def test_where_history_has_neither_seconds_nor_minutes_of_what_was_received_it_is_given_up() -> None:
    heal, now = healer(), T0 + HOUR
    heal.see(missing((30, 250), held={30: 1, 100: 1, 249: 1}), now)
    heal.next(now)
    heal.answered([bar(249)], MNQ, now)
    heal.next(now)
    [record] = heal.answered([bar(180)], MNQ, now)
    assert span(record) == ("unhealed", 30, 250)


@pytest.mark.parametrize(
    "wrong",
    [
        bar(10, h=99.0),
        bar(10, l=101.0),
        bar(10, c=100.1),
        bar(10, o=float("nan")),
        bar(10, volume=-1),
        HistoryBar(t="yesterday", o=1.0, h=1.0, l=1.0, c=1.0, v=1),
        HistoryBar(t=format_stamp(T0 + 10 * NS + 1), o=1.0, h=1.0, l=1.0, c=1.0, v=1),
    ],
)
def test_a_bar_that_makes_no_sense_is_not_believed(wrong: HistoryBar) -> None:
    heal, now = healer(), T0 + HOUR
    heal.see(missing((10, 20)), now)
    heal.next(now)
    assert heal.answered([bar(11), wrong], MNQ, now) == []
    assert heal.counters["asked_again"] == 1
    assert heal.next(now + 2 * NS) is not None
    [record] = heal.answered([bar(11)], MNQ, now + 2 * NS)
    assert span(record) == ("healed", 10, 20)


def test_the_same_bar_twice_is_not_believed() -> None:
    heal, now = healer(), T0 + HOUR
    heal.see(missing((10, 20)), now)
    heal.next(now)
    assert heal.answered([bar(11), bar(11)], MNQ, now) == []


def test_an_answer_that_the_bars_do_not_take_is_given_up_in_time() -> None:
    heal, what = healer(), missing((10, 20))
    now = T0 + HOUR
    heal.see(what, now)
    heal.next(now)
    heal.answered([bar(11)], MNQ, now)
    assert heal.see(what, now + UNTAKEN_NS - 1) == []
    [record] = heal.see(what, now + UNTAKEN_NS)
    assert span(record) == ("unhealed", 10, 20)


def test_a_gap_that_the_bars_stopped_waiting_for_is_counted() -> None:
    heal = healer()
    heal.see(missing((10, 20)), T0 + 20 * NS)
    heal.see({}, T0 + HOUR)
    assert heal.counters == {"too_late": 1}


def test_an_answer_without_a_question_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no question"):
        healer().failed("why", T0)
