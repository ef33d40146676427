from __future__ import annotations

import pytest

from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.handover import Missing, held_back, missing
from tickloom.actors.connection.overlap import Overlap
from tickloom.messages.market import Prints


def overlap_of(old: list[int], new: list[int]) -> Overlap:
    """An overlap in which each connection has delivered these stamps of contract A."""
    overlap = Overlap("market/1", "market/2", lateness_ns=0)
    for source, stamps in (("market/1", old), ("market/2", new)):
        n = len(stamps)
        if n:
            overlap.admit(source, Prints(("A",), [0] * n, stamps, [1.0] * n, [1] * n, [0] * n, [0] * n, 0))
    return overlap


def tracker(*astray: int) -> GapTracker:
    gaps = GapTracker()
    gaps.confirmed("A", 1)
    n = len(astray)
    if n:
        gaps.saw(Prints(("A",), [0] * n, list(astray), [1.0] * n, [1] * n, [0] * n, [0] * n, 0), 10**9)
    return gaps


@pytest.mark.parametrize(
    ("old", "new", "answered", "suspect", "expected"),
    [
        ([10, 20], [20, 30], False, False, []),  # it began before the old one ended: nothing can be missing
        ([10, 20], [25, 30], False, True, [Missing("A", 20, 26)]),
        ([10, 20], [25, 30], True, True, [Missing("A", 20, 26)]),  # the gateway held something back
        ([10, 20], [25, 30], True, False, []),  # the first print since: it had come on both, had the old one stayed
        ([], [25], False, True, [Missing("A", 7, 26)]),
        ([10], [], False, False, [Missing("A", 10, None)]),  # silence of a dead link proves nothing
        ([10], [], True, False, []),  # silence of a link that answers does
        ([], [], True, False, []),
        ([], [], False, False, [Missing("A", 7, None)]),
    ],
)
def test_what_is_missing_follows_from_what_both_have_delivered_and_how_the_old_one_went(
    old, new, answered, suspect, expected
):
    found = missing(
        overlap_of(old, new), ["A"], tracker(), lambda _: 7, answered=answered, held_back=["A"] if suspect else []
    )
    assert found == expected


def test_where_stamps_go_astray_the_new_connection_must_have_begun_so_much_earlier():
    astray = tracker(100, 95)
    both = overlap_of([10, 20], [18, 25])
    assert missing(both, ["A"], astray, lambda _: 7, answered=False) == [Missing("A", 10, 21)]
    assert missing(both, ["A"], tracker(), lambda _: 7, answered=False) == []


def test_a_contract_is_held_back_when_the_new_connection_alone_has_its_prints():
    assert held_back(overlap_of([], [5]), ["A"], tracker()) == ["A"]
    assert held_back(overlap_of([3], [5]), ["A"], tracker()) == ["A"]
    assert held_back(overlap_of([5], [5]), ["A"], tracker()) == []
    assert held_back(overlap_of([3], []), ["A"], tracker()) == []
