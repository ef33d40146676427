from __future__ import annotations

from tickloom.actors.connection.heartbeat import Heartbeat


def test_it_pings_at_its_interval_and_measures_the_round_trip():
    beat = Heartbeat(5.0, 10.0, now=100.0)
    assert beat.next_deadline() == 105.0
    assert beat.on_time(104.9, heard=100.0) is None
    body = beat.on_time(105.0, heard=100.0)
    assert body is not None
    assert beat.on_pong(body, 105.25) == 0.25
    assert beat.round_trip == 0.25
    assert beat.next_deadline() == 110.25


def test_a_link_that_answers_nothing_is_overdue_after_its_patience():
    beat = Heartbeat(5.0, 10.0, now=0.0)
    beat.on_time(5.0, heard=3.0)
    assert beat.next_deadline() == 15.0
    assert not beat.overdue(14.9, heard=4.0)
    assert beat.overdue(15.0, heard=4.0)


def test_a_link_that_delivers_is_alive_though_it_answers_no_pings():
    beat = Heartbeat(5.0, 10.0, now=0.0)
    beat.on_time(5.0, heard=3.0)
    assert not beat.overdue(15.0, heard=14.0)
    assert beat.on_time(15.0, heard=14.0) is None
    assert beat.on_time(20.0, heard=19.0) is not None


def test_pongs_nobody_asked_for_measure_nothing():
    beat = Heartbeat(5.0, 10.0, now=0.0)
    assert beat.on_pong(b"", 1.0) is None
    first = beat.on_time(5.0, heard=0.0)
    assert beat.on_pong(b"other", 5.1) is None
    assert beat.on_pong(first, 5.2) is not None
    assert beat.on_pong(first, 9.0) is None


def test_an_interval_of_zero_never_pings():
    beat = Heartbeat(0.0, 10.0, now=0.0)
    assert beat.next_deadline() == float("inf")
    assert beat.on_time(1e9, heard=0.0) is None
    assert not beat.overdue(1e9, heard=0.0)
