"""The trading day of an instant, as a session and a replay say it; and contracts that a log knows nothing of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import tickloom
from tickloom.messages.market import NS

MNQ = "CON.F.US.MNQ.Z25"
CHICAGO = ZoneInfo("America/Chicago")
SUNDAY = dt.datetime(2025, 11, 23, 17, 0, tzinfo=CHICAGO)
WriteTape = Callable[..., Path]


@pytest.fixture
def replayed(write_tape: WriteTape, tmp_path: Path) -> tickloom.Replay:
    settings = tickloom.load_settings(overrides={"session.timeframes": "1s"}).settings
    settings = settings.replace(instruments={"MNQ": {"calendar": "cme_equity"}})
    return tickloom.replay(write_tape(tmp_path / "log", 3), settings=settings)


def test_a_trading_day_has_the_date_on_which_its_sitting_closes_and_between_sittings_there_is_none(
    replayed: tickloom.Replay,
) -> None:
    monday = dt.date(2025, 11, 24)
    second = dt.timedelta(seconds=1)
    for at, day in (
        (SUNDAY - second, None),
        (SUNDAY, monday),
        (SUNDAY.astimezone(dt.UTC), monday),
        (SUNDAY + dt.timedelta(hours=23) - second, monday),
        (SUNDAY + dt.timedelta(hours=23), None),
        (SUNDAY + dt.timedelta(hours=24), dt.date(2025, 11, 25)),
    ):
        assert replayed.trading_day(MNQ, at) == day
        assert replayed.trading_day(MNQ, int(at.timestamp()) * NS) == day
    assert replayed.trading_day(MNQ, int(SUNDAY.timestamp()) * NS - 1) is None
    (first, *_) = replayed.table(MNQ, "1s").to_pylist()
    assert replayed.trading_day(MNQ, first["open_time"]) == monday


def test_an_instant_without_a_zone_or_in_no_calendars_years_is_refused(replayed: tickloom.Replay) -> None:
    with pytest.raises(tickloom.UsageError, match="has no time zone"):
        replayed.trading_day(MNQ, dt.datetime(2025, 11, 23, 17, 0))
    with pytest.raises(tickloom.UsageError, match="calendars hold 1690 to 2250"):
        replayed.trading_day(MNQ, dt.datetime(2255, 1, 1, tzinfo=dt.UTC))


def test_what_a_replay_does_not_know_is_named(replayed: tickloom.Replay) -> None:
    for ask in (lambda: replayed.table("ES", "1s"), lambda: replayed.trading_day("ES", 0)):
        with pytest.raises(tickloom.UsageError, match=f"contract 'ES' is not in the log: it has {MNQ}"):
            ask()
    with pytest.raises(tickloom.UsageError, match="1h"):
        replayed.table(MNQ, "1h")


def test_a_session_says_it_by_the_calendar_of_each_contract(make_session: Callable[..., tickloom.Session]) -> None:
    with make_session(session__contracts=(MNQ,)) as session:
        assert session.trading_day(MNQ, SUNDAY) == dt.date(2025, 11, 24)
        with pytest.raises(tickloom.UsageError, match="is not followed"):
            session.trading_day("ES", SUNDAY)
