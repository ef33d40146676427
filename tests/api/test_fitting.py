"""A timeframe that does not fit a contract's sessions is refused before anything is done: its prints would be lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.config.fields import SettingsError
from tickloom.config.settings import Settings
from tickloom.messages.control import SessionStarted, SessionStopped, Subscribed, Unsubscribed
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.messages.market import NS, Instrument, Prints

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
T0 = 1_763_990_000 * NS
SHORT = {"zone": "Asia/Kathmandu", "sittings": [{"open": "11:00", "close": "15:00"}]}
Make = Callable[..., tickloom.Session]


def placed(settings: Settings) -> Settings:
    """Return settings in which one contract has short sessions."""
    return settings.replace(calendars={"short": SHORT}, instruments={"EP": {"calendar": "short"}})


def written(folder: Path, *, later: bool, leaves: bool = False) -> Path:
    """Write a log of two contracts, of which one has short sessions, known from the start or from some time `later`."""
    settings = placed(tickloom.load_settings(overrides={"session.timeframes": "1s,6h"}).settings)
    long, short = Instrument(MNQ, 1, 4), Instrument(EP, 1, 4, calendar="short")
    items: list[Intake] = [
        SessionStarted(recv_ns=T0, version="t", settings=settings.redacted(), timeframes=("1s", "6h"),
                       instruments=(long,) if later else (long, short),
                       calendars={"short": SHORT}),
    ]  # fmt: skip
    items += [Subscribed(recv_ns=T0, hub="market", connection=1, contract=MNQ, instrument=long)]
    for tick in range(10):
        at = T0 + tick * NS
        if tick == 5:
            items.append(Subscribed(recv_ns=at, hub="market", connection=1, contract=EP, instrument=short))
        contract = EP if tick > 5 else MNQ
        items.append(Frames("market/1", [at], [0], None, Prints((contract,), [0], [at], [100.0], [1], [0], [0], tick)))
    if leaves:
        items.append(Unsubscribed(recv_ns=T0 + 11 * NS, contract=EP))
    items.append(SessionStopped(recv_ns=T0 + 12 * NS))
    with LogWriter(folder, session="t", options=LogOptions()) as log:
        for number, item in enumerate(items, 1):
            log.append([Numbered(number, item)], 0)
    return folder


@pytest.mark.parametrize(("later", "leaves"), [(False, False), (True, False), (True, True)])
def test_a_replay_refuses_a_timeframe_that_does_not_fit_a_contract_of_the_log_and_takes_others(
    tmp_path: Path, later: bool, leaves: bool
) -> None:
    log = written(tmp_path / "log", later=later, leaves=leaves)
    words = rf"timeframe '6h' is longer than the longest sitting of calendar 'short'.*\(contract {EP}\)"
    for timeframes in (None, ["1s", "6h"]):
        with pytest.raises(SettingsError, match=words):
            tickloom.replay(log, timeframes=timeframes, out=tmp_path / "out")
    assert leaves or not (tmp_path / "out").exists(), "nothing was done"
    with pytest.raises(SettingsError, match=words), tickloom.Playback(log, speed=float("inf")) as playback:
        playback.wait(20)
    result = tickloom.replay(log, timeframes=["1s", "1h"])
    assert (result.summary.ticks, result.summary.lost, result.table(EP, "1s").num_rows) == (10, 0, 4)


def test_a_part_of_a_log_is_replayed_by_what_fits_the_contracts_in_it(tmp_path: Path) -> None:
    log = written(tmp_path / "log", later=True)
    assert tickloom.replay(log, to_ns=T0 + 4 * NS).table(MNQ, "6h").num_rows == 1
    with pytest.raises(SettingsError, match=f"contract {EP}"):
        tickloom.replay(log, from_ns=T0 + 8 * NS)


def test_a_contract_whose_sessions_a_timeframe_does_not_fit_is_not_subscribed_to(make_session: Make) -> None:
    session = make_session(session__contracts=(MNQ,), session__timeframes="1s,6h")
    session.settings = placed(session.settings)
    with session:
        with pytest.raises(tickloom.UsageError, match=rf"timeframe '6h'.*calendar 'short'.*\(contract {EP}\)"):
            session.subscribe(EP).result()
        assert session.contracts == (MNQ,)
        session.remove_timeframe("6h").result()
        session.subscribe(EP).result()
        next(session.bars(EP, "1s"))
        session.unsubscribe(EP).result()
        with pytest.raises(tickloom.UsageError, match=f"contract {EP}"):
            session.add_timeframe("6h").result()
    assert session.summary is not None
    assert session.summary.lost == 0
