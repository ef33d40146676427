"""A feed of the program's own in place of a gateway: the same rules, bars, log and account."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

import tickloom
from tickloom.config.buckets import rule_for
from tickloom.config.calendars import find_calendar
from tickloom.config.fields import SettingsError
from tickloom.config.settings import Settings
from tickloom.messages.market import NS, Instrument

OIL = Instrument("OIL", 1, 100, name="made up", calendar="24/7")
QUICK = {"supervision.backoff_base_s": 0.001, "supervision.backoff_cap_s": 0.01}


class Given:
    """A source that is fed by hand, from the test's thread: ticks, or an error to raise."""

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments: Sequence[Instrument] = instruments or (OIL,)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[tickloom.Ticks | BaseException | None] = asyncio.Queue()
        self.lives = 0
        self.closed = 0
        self.ready = threading.Event()

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        self.lives += 1
        self._loop = asyncio.get_running_loop()
        self._queue = asyncio.Queue()
        self.ready.set()
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed += 1

    def give(self, item: tickloom.Ticks | BaseException | None) -> None:
        assert self.ready.wait(20)
        assert self._loop is not None
        if isinstance(item, BaseException):
            self.ready.clear()  # what is given next is for the life after
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


def at(second: int, *, price: float = 70.0, rows: int = 2, contract: str = "OIL") -> tickloom.Ticks:
    """Two prints in a whole second, so many seconds after the one that has just ended."""
    start = (BEGAN + second) * NS
    return tickloom.Ticks(
        contract, [start + n for n in range(rows)], [price + n / 100 for n in range(rows)], [3] * rows
    )


BEGAN = int(time.time())


@pytest.fixture(autouse=True)
def _now() -> None:
    global BEGAN
    BEGAN = int(time.time())


Make = Callable[..., tickloom.Session]


def session_of(source: Given, **settings: object) -> tickloom.Session:
    config = {"session.timeframes": ("1s", "5s"), "session.grace_ms": 0, **QUICK}
    return tickloom.Session({**config, **settings}, source=source)


def test_its_ticks_become_bars_and_the_account_is_square(tmp_path: Path) -> None:
    source = Given()
    session = session_of(source, **{"recorder.dir": str(tmp_path / "log")})
    with session:
        stream = session.bars("OIL", "1s")
        source.give(at(0))
        source.give(at(1, price=71.0))
        first = next(stream)
        for _ in range(2000):  # health is told by a way of its own
            if session.health().links:
                break
            threading.Event().wait(0.01)
        assert session.health().links == {"source": "up"}
        assert session.contracts == ("OIL",)
        assert {view.path for view in session.tree().walk()} >= {"/feed/source", "/recorder"}
        assert "/feed/token" not in {view.path for view in session.tree().walk()}
    point = session.instruments["OIL"].to_price
    assert (point(first.open), point(first.high), first.volume, first.trades) == (70.0, 70.01, 6, 2)
    assert session.summary is not None
    assert (session.summary.ticks, session.summary.lost, session.summary.rejected) == (4, 0, 0)
    assert source.closed == 1, "its iterator was closed"
    again = tickloom.replay(tmp_path / "log")
    assert again.digest == session.summary.digest
    assert again.table("OIL", "1s").equals(session.table("OIL", "1s"))
    assert [t.name for t in threading.enumerate() if t.name.startswith("tickloom")] == []


def test_validation_judges_its_ticks_like_any_others() -> None:
    source = Given()
    with session_of(source) as session:
        stream = session.bars("OIL", "1s")
        source.give(at(0))
        source.give(tickloom.Ticks("OIL", [BEGAN * NS + 5], [float("nan")], [1]))
        source.give(tickloom.Ticks("OIL", [BEGAN * NS + 6], [70.005], [1]))
        source.give(at(1))
        next(stream)
    assert session.summary is not None
    assert (session.summary.rejected, session.summary.lost) == (2, 0)


def test_one_that_fails_comes_back_and_what_it_may_have_missed_is_a_gap() -> None:
    source = Given()
    with session_of(source) as session:
        stream = session.bars("OIL", "1s")
        source.give(at(0))
        source.give(ConnectionError("the line is dead"))
        source.give(at(2))
        source.give(at(3))
        seen = [next(stream) for _ in range(2)]
        view = session.tree().find("/feed/source")
    assert source.lives == 2
    assert (view.restarts, view.failures) == (1, 1)
    assert "the line is dead" in str(view.last_failure)
    assert all(bar.flags & tickloom.BarFlag.GAP for bar in seen), "both ends of what was missed"
    assert session.summary is not None
    assert (session.summary.gaps, session.summary.lost) == (1, 0)


def test_one_that_ends_is_said_in_health_and_the_session_goes_on_until_it_is_stopped() -> None:
    source = Given()
    heard = threading.Event()
    session = session_of(source)
    session.on_health(lambda health: heard.set() if "come to its end" in " ".join(health.reasons) else None)
    with session:
        source.give(at(0))
        source.give(None)
        assert heard.wait(20)
    assert session.table("OIL", "1s")["volume"].to_pylist() == [6]
    assert session.summary is not None
    assert session.summary.lost == 0


def test_ticks_of_a_contract_it_never_named_are_a_failure_that_names_it() -> None:
    source = Given()
    opened = threading.Event()
    session = session_of(source)
    with session:
        session.events(lambda event: opened.set() if "OTHER" in str(event) else None)
        source.give(at(0, contract="OTHER"))
        assert opened.wait(20)


def test_columns_that_do_not_go_together_are_refused_where_they_are_made() -> None:
    with pytest.raises(ValueError, match="columns of \\[1, 2\\] rows"):
        tickloom.Ticks("OIL", [1, 2], [70.0], [1, 1])


def test_contracts_cannot_be_added_to_what_a_source_has() -> None:
    source = Given()
    with session_of(source) as session:
        with pytest.raises(tickloom.UsageError, match="the source's instruments"):
            session.subscribe("CON.F.US.MNQ.Z25")
        with pytest.raises(tickloom.UsageError, match="the source's instruments"):
            session.unsubscribe("OIL")


def test_a_source_without_instruments_is_refused() -> None:
    source = Given()
    source.instruments = ()
    with pytest.raises(tickloom.UsageError, match="no instruments"):
        session_of(source)


@pytest.mark.parametrize(
    ("instrument", "settings", "calendar"),
    [
        (Instrument("OIL", 1, 100, calendar="24/7@Asia/Tokyo"), {}, "24/7@Asia/Tokyo"),
        (Instrument("OIL", 1, 100), {}, "utc"),
        (Instrument("CON.F.US.MNQ.Z25", 1, 100), {}, "cme_equity"),
        (Instrument("CON.F.US.MNQ.Z25", 1, 100, calendar="24/7@Asia/Tokyo"), {}, "24/7@Asia/Tokyo"),
        (Instrument("CON.F.US.MNQ.Z25", 1, 100, calendar="utc"), {}, "utc"),
        (
            Instrument("OIL", 1, 100, calendar="24/7@Asia/Tokyo"),
            {"instruments": {"OIL": {"calendar": "cme_equity"}}},
            "cme_equity",
        ),
    ],
)
def test_its_days_are_those_of_the_calendar_an_instrument_names_or_its_products_live_and_in_a_replay(
    tmp_path: Path, instrument: Instrument, settings: dict[str, object], calendar: str
) -> None:
    session = Settings(**settings)  # type: ignore[arg-type]  # plain data comes out typed
    given = session.replace(session=replace(session.session, grace_ms=0, timeframes=("1s", "1d")))
    source = Given(instrument)
    log = tmp_path / "log"
    given = given.replace(recorder=replace(given.recorder, dir=str(log)))
    with tickloom.Session(given, source=source) as running:
        stream = running.bars(instrument.contract, "1s")
        source.give(at(0, contract=instrument.contract))
        source.give(at(1, contract=instrument.contract))
        next(stream)
        assert running.instruments[instrument.contract].calendar == calendar
    assert running.summary is not None
    again = tickloom.replay(log, verify=True)
    assert again.digest == running.summary.digest
    assert again.instruments[instrument.contract].calendar == calendar
    (day, *_) = again.table(instrument.contract, "1d").to_pylist()
    assert running.table(instrument.contract, "1d").to_pylist()[0] == day
    start, end = rule_for(find_calendar(calendar), "1d").bucket(BEGAN * NS)
    assert [int(day[key].timestamp()) * NS for key in ("open_time", "close_time")] == [start, end]


def test_a_session_that_goes_on_with_a_log_folds_what_it_follows_no_longer_by_the_calendar_it_had(
    tmp_path: Path,
) -> None:
    for name, calendar in (("OIL", "24/7@Asia/Tokyo"), ("GAS", "")):
        source = Given(Instrument(name, 1, 100, calendar=calendar))
        config = {"session.timeframes": ("1s", "1d"), "recorder.dir": str(tmp_path / "log")}
        with session_of(source, **config) as session:
            stream = session.bars(name, "1s")
            source.give(at(0, contract=name))
            source.give(at(1, contract=name))
            next(stream)
        for path in tmp_path.glob("log/*.tlcp"):
            path.unlink()  # so that the next session reads the log itself
    assert session.summary is not None
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


def test_a_calendar_that_does_not_exist_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match="did you mean '24/7'"):
        session_of(Given(Instrument("OIL", 1, 100, calendar="24/8")))
