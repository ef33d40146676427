"""The gate between a log and the actors, with items of several frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tickloom.gate import Gate
from tickloom.messages.control import Beat
from tickloom.messages.intake import Frames, Numbered


def item(seq: int, count: int) -> Numbered:
    return Numbered(seq, Frames("m", list(range(count)), [0] * count, [b"%d" % (seq + i) for i in range(count)]))


@pytest.fixture
def through() -> Iterator[tuple[Gate, list[Numbered], threading.Thread]]:
    """A gate that is shut, what came through it, and the thread that sends six frames and a record."""
    gate, came = Gate(shut=True), list[Numbered]()

    def send() -> None:
        for numbered in (item(1, 4), Numbered(5, Beat(recv_ns=5)), item(6, 2)):
            came.extend(gate.admit(numbered))
        gate.end()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield gate, came, thread
    gate.end()
    thread.join(10)
    assert not thread.is_alive()


Through = tuple[Gate, list[Numbered], threading.Thread]


def test_shut_it_lets_exactly_what_was_asked_for_through_and_parts_items_for_it(through: Through) -> None:
    gate, came, _ = through
    assert gate.step(1, 10) == 1
    assert [(n.seq, n.last_seq) for n in came] == [(1, 1)]
    assert gate.step(4, 10) == 4
    assert [(n.seq, n.last_seq) for n in came] == [(1, 1), (2, 4), (5, 5)]
    assert gate.passed == 5
    assert gate.shut


def test_at_the_end_a_step_says_how_many_there_were(through: Through) -> None:
    gate, _, _ = through
    assert gate.step(100, 10) == 7
    assert gate.step(1, 10) == 0


def test_opened_it_lets_everything_through_whole(through: Through) -> None:
    gate, came, thread = through
    gate.step(1, 10)
    gate.open()
    thread.join(10)
    assert [(n.seq, n.last_seq) for n in came] == [(1, 1), (2, 4), (5, 5), (6, 7)]


def test_ended_it_lets_nothing_more_through_and_holds_nobody(through: Through) -> None:
    gate, came, thread = through
    gate.end()
    thread.join(10)
    assert came == []
    assert gate.step(3, 10) == 0


def test_whoever_waits_for_an_items_time_is_woken_by_a_step(through: Through) -> None:
    gate, _, _ = through
    woken = threading.Event()

    def wait() -> None:
        gate.sleep(600)
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    gate.step(100, 10)  # which also ends it
    assert woken.wait(10)


def test_time_that_stood_is_reckoned_anew_once() -> None:
    gate = Gate()
    assert not gate.anew()
    gate.close()
    gate.open()
    assert [gate.anew(), gate.anew()] == [True, False]
