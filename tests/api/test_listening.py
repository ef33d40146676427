"""A listener's trouble is its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

import tickloom
from tickloom.listening import Listeners

Make = Callable[..., tickloom.Session]


def test_one_that_raises_is_logged_and_counted_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []
    listeners: Listeners[int] = Listeners("numbers")
    listeners.add(lambda number: 1 / 0)
    listeners.add(heard.append)
    listeners.tell(1)
    assert heard == [1]
    assert listeners.failures == 1
    assert "a listener of numbers" in caplog.text


def test_one_that_has_heard_enough_is_told_no_more() -> None:
    heard: list[int] = []
    listeners: Listeners[int] = Listeners("numbers")
    end = listeners.add(heard.append)
    listeners.tell(1)
    end()
    end()
    listeners.tell(2)
    assert heard == [1]


def test_three_failures_in_a_row_and_it_is_told_no_more_but_a_success_forgives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[int] = []

    def moody(number: int) -> None:
        calls.append(number)
        if number != 3:
            raise ValueError(number)

    listeners: Listeners[int] = Listeners("numbers")
    listeners.add(moody)
    for number in range(1, 9):
        listeners.tell(number)
    assert calls == [1, 2, 3, 4, 5, 6]
    assert listeners.failures == 5
    assert "told no more" in caplog.text


def test_a_listener_of_health_that_raises_does_not_crash_the_health_actor(make_session: Make) -> None:
    logging.getLogger("tickloom.session").setLevel(logging.CRITICAL)
    session = make_session()
    heard: list[str] = []

    def broken(health: tickloom.Health) -> None:
        raise RuntimeError("no")

    session.on_health(broken)
    session.on_health(lambda health: heard.append(health.status))
    try:
        with session:
            next(session.bars("CON.F.US.MNQ.Z25", "1s"))
            view = session.tree().find("/observers/health")
    finally:
        logging.getLogger("tickloom.session").setLevel(logging.NOTSET)
    assert "healthy" in heard
    assert (view.restarts, view.failures) == (0, 0)
