"""The judge of the long run must see what is wrong: each kind of wrong is made, and found."""

from __future__ import annotations

import numpy as np
import pytest

from tickloom.scripts.endurance.judge import Held, Truth, bars, judge, judge_bars, union

NS = 1_000_000_000
FIRST, TICKS = 100, 40


def truth() -> Truth:
    """Ticks a quarter of a second apart."""
    index = np.arange(TICKS, dtype=np.int64)
    return Truth(FIRST, index * NS // 4, 10.0 + index % 7, 1 + index % 3, index % 2)


def held(*indices: int, price: float | None = None) -> Held:
    at, t = np.array(indices, dtype=np.int64) - FIRST, truth()
    prices = t.price[at] if price is None else np.full(len(at), price)
    return Held(t.ts[at], prices, t.volume[at], t.side[at])


ALL = list(range(FIRST, FIRST + TICKS))


def gap(first: int, last: int) -> tuple[int, int]:
    """Over ticks `first` to `last`."""
    return int((first - FIRST) * NS // 4), int((last - FIRST) * NS // 4 + 1)


def test_two_connections_that_overlap_make_the_larger_count_of_each_tick():
    counts = union([[[100, 110], [105, 105]], [[108, 120]], []], FIRST, TICKS)
    assert counts.tolist() == [2 if i == 105 else int(100 <= i <= 120) for i in ALL]


def test_everything_delivered_and_held_once_is_right():
    verdict = judge(truth(), held(*ALL), [[[100, 120]], [[115, 139]]], [])
    assert verdict.right
    assert (verdict.ticks, verdict.held, verdict.missing) == (40, 40, 0)


def test_a_print_sent_twice_on_one_connection_is_held_twice():
    sent = [[[100, 120], [120, 139]]]
    assert judge(truth(), held(*ALL, 120), sent, []).right
    assert judge(truth(), held(*ALL), sent, []).lost == 1


@pytest.mark.parametrize(
    ("have", "sent", "gaps", "wrong"),
    [
        ([i for i in ALL if i != 117], [[[100, 139]]], [], {"lost": 1}),
        ([*ALL, 117], [[[100, 139]]], [], {"doubled": 1}),
        ([i for i in ALL if not 110 <= i <= 112], [[[100, 109]], [[113, 139]]], [], {"unexplained": 3}),
        ([i for i in ALL if not 110 <= i <= 112], [[[100, 109]], [[113, 139]]], [gap(111, 113)], {"unexplained": 1}),
        ([i for i in ALL if not 110 <= i <= 112], [[[100, 109]], [[113, 139]]], [gap(109, 113)], {}),
        ([i for i in ALL if not 108 <= i <= 112], [[[100, 109]], [[113, 139]]], [gap(107, 113)], {}),
        ([*ALL, 111], [[[100, 109]], [[111, 139]]], [gap(109, 111)], {"doubled": 1}),
        (ALL, [[[103, 139]]], [], {"doubled": 3}),  # held though delivered to nobody: no link ended before them
    ],
)
def test_what_is_lost_doubled_or_unexplained_is_counted(have, sent, gaps, wrong):
    verdict = judge(truth(), held(*have), sent, gaps)
    found = {name: getattr(verdict, name) for name in ("alien", "lost", "doubled", "unexplained")}
    assert {name: count for name, count in found.items() if count} == wrong
    assert verdict.right == (not wrong)


def test_what_a_link_brought_as_it_was_ended_counts_as_delivered_though_the_gateway_did_not_note_it():
    verdict = judge(truth(), held(*ALL), [[[100, 109]], [[113, 139]]], [gap(112, 113)])
    assert verdict.right
    assert verdict.unnoted == 3


def test_a_print_that_is_other_than_the_tick_of_its_stamp_is_alien_and_the_tick_is_lost():
    mixed = held(*ALL)
    mixed.price[3] = 99.0
    verdict = judge(truth(), mixed, [[[100, 139]]], [])
    assert (verdict.alien, verdict.lost) == (1, 1)


def rows(made: dict, flags: dict[int, str] | None = None) -> list[dict]:
    names = ("open", "high", "low", "close", "volume", "trades")
    return [
        {"open_time": opened, "flags": (flags or {}).get(opened, ""), **dict(zip(names, row, strict=True))}
        for opened, row in made.items()
    ]


def test_bars_of_plain_arithmetic_are_right_and_any_other_is_not():
    whole = bars(truth(), np.ones(TICKS, dtype=np.int64), NS)
    assert len(whole) == 10
    assert whole[0] == (10.0, 13.0, 10.0, 13.0, 1 + 2 + 3 + 1, 4)
    sent = [[[100, 139]]]
    good = judge_bars(rows(whole), truth(), held(*ALL), sent, [], NS)
    assert (good.bars, good.wrong, good.unflagged) == (10, 0, 0)
    wrong = dict(whole)
    wrong[NS] = (*whole[NS][:4], whole[NS][4] + 1, whole[NS][5])
    assert judge_bars(rows(wrong), truth(), held(*ALL), sent, [], NS).wrong == 1
    del wrong[2 * NS]
    assert judge_bars(rows(wrong), truth(), held(*ALL), sent, [], NS).wrong == 2


def test_a_bar_that_touches_a_gap_says_so_and_is_what_was_held_or_healed_and_what_is_true():
    have = [i for i in ALL if not 109 <= i <= 110]
    sent, gaps = [[[100, 108]], [[111, 139]]], [gap(108, 111)]
    kept = bars(truth(), np.array([int(i in have) for i in ALL]), NS)
    whole = bars(truth(), np.ones(TICKS, dtype=np.int64), NS)
    flagged = judge_bars(rows(kept, {2 * NS: "gap"}), truth(), held(*have), sent, gaps, NS)
    assert (flagged.in_gaps, flagged.wrong, flagged.unflagged) == (1, 0, 0)
    assert judge_bars(rows(kept), truth(), held(*have), sent, gaps, NS).unflagged == 1
    assert judge_bars(rows(kept, {2 * NS: "gap", NS: "gap"}), truth(), held(*have), sent, gaps, NS).unflagged == 1
    healed = judge_bars(rows(whole, {2 * NS: "gap|healed"}), truth(), held(*have), sent, gaps, NS)
    assert (healed.healed, healed.wrong, healed.unflagged) == (1, 0, 0)
    untrue = judge_bars(rows(kept, {2 * NS: "gap|healed"}), truth(), held(*have), sent, gaps, NS)
    assert untrue.wrong == 1
