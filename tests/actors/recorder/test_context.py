from __future__ import annotations

import msgspec

from tickloom.actors.recorder.context import Context
from tickloom.messages.control import (
    Beat,
    Connected,
    Disconnected,
    Gap,
    SessionStopped,
    Subscribed,
    TimeframesChanged,
    TokenChanged,
    Unsubscribed,
)


def subscribed(kit, contract, connection=1):
    return Subscribed(recv_ns=5, hub="market", connection=connection, contract=contract, instrument=kit.MNQ)


def connected(connection, hub="market"):
    return Connected(recv_ns=4, hub=hub, connection=connection)


def disconnected(connection, hub="market"):
    return Disconnected(recv_ns=6, hub=hub, connection=connection, cause="gone")


def test_nothing_is_in_force_before_a_session():
    assert Context().records() == ()


def test_a_start_ends_what_the_session_before_left_behind(kit):
    again = kit.started(99)
    context = Context([kit.started(), connected(1), subscribed(kit, "A"), again])
    assert context.records() == (again,)


def test_timeframes_that_come_and_go_stand_in_the_sessions_start(kit):
    changes = [TimeframesChanged(recv_ns=6, timeframes=names) for names in (("1s", "2s"), ("2s",))]
    context = Context([kit.started(), *changes])
    (start,) = context.records()
    assert start == msgspec.structs.replace(kit.started(), timeframes=("2s",))
    assert Context(changes).records() == ()
    assert Context([*context.records(), again := kit.started(99)]).records() == (again,)


def test_the_last_word_on_a_contract_counts(kit):
    first, second, other = subscribed(kit, "A"), subscribed(kit, "A", connection=2), subscribed(kit, "B")
    context = Context([kit.started(), first, second, other, Unsubscribed(recv_ns=7, contract="C")])
    assert context.records() == (kit.started(), second, other)
    context.apply(Unsubscribed(recv_ns=7, contract="A"))
    assert context.records() == (kit.started(), other)


def test_an_old_connection_going_does_not_end_the_new_one(kit):
    context = Context([kit.started(), connected(1), connected(1, "user"), connected(2), disconnected(1)])
    assert context.records() == (kit.started(), connected(2), connected(1, "user"))
    context.apply(disconnected(2))
    assert context.records() == (kit.started(), connected(1, "user"))


def test_a_stopped_session_is_known_to_be_stopped(kit):
    stopped = SessionStopped(recv_ns=9)
    context = Context([kit.started(), connected(1), subscribed(kit, "A"), stopped])
    assert context.records() == (kit.started(), subscribed(kit, "A"), stopped)


def test_records_of_a_moment_leave_nothing_in_force(kit):
    passing = [
        Beat(recv_ns=1),
        TokenChanged(recv_ns=1, expires_ns=2, how="login"),
        Gap(recv_ns=1, contract="A", from_ns=0, to_ns=1, cause="x"),
    ]
    assert Context([kit.started(), *passing]).records() == (kit.started(),)


def test_what_it_gives_it_takes(kit):
    context = Context([kit.started(), connected(3), subscribed(kit, "A"), subscribed(kit, "B")])
    assert Context(context.records()).records() == context.records()
