"""A program written for the other library, on a session with the emulator behind it."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import tickloom
from tickloom.compat import RealtimeDataManager
from tickloom.compat.opening import choose
from tickloom.messages.projectx import ContractModel
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tickloom")]


class Seen:
    """Callbacks that remember, and an event for each name once it has come so often."""

    def __init__(self) -> None:
        self.events: dict[str, list[Any]] = {}
        self._wanted: dict[str, tuple[int, asyncio.Event]] = {}

    async def __call__(self, event: Any) -> None:
        seen = self.events.setdefault(event.type, [])
        seen.append(event)
        count, reached = self._wanted.get(event.type, (0, None))
        if reached is not None and len(seen) >= count:
            reached.set()

    async def wait(self, name: str, count: int) -> list[Any]:
        reached = asyncio.Event()
        self._wanted[name] = (count, reached)
        if len(self.events.get(name, [])) < count:
            async with asyncio.timeout(20):
                await reached.wait()
        return self.events[name]


def test_the_whole_life_of_a_program_that_reads(client: Any) -> None:
    seen = Seen()

    async def main() -> tuple[Any, ...]:
        manager = RealtimeDataManager("MNQ", client, None, timeframes=["1sec", "1min"])
        assert await manager.get_status() == "initializing"
        assert await manager.initialize(initial_days=1)
        assert await manager.initialize(), "twice is once"
        assert (manager.contract_id, await manager.get_status()) == (MNQ, "initialized")
        history = await manager.get_data("1sec")
        for name in ("new_bar", "data_update", "bar_closed"):
            await manager.add_callback(name, seen)
        assert await manager.start_realtime_feed()
        assert await manager.start_realtime_feed(), "twice is once"
        await seen.wait("new_bar", 3)
        await seen.wait("bar_closed", 3)
        session = manager.session
        assert session is not None
        live = await manager.get_data("1sec")
        price, ohlc = await manager.get_latest_price(), await manager.get_ohlc("1sec")
        stats, score, status = (
            await manager.get_memory_stats(),
            await manager.get_health_score(),
            await manager.get_status(),
        )
        valid = manager.get_realtime_validation_status()
        mtf = await manager.get_mtf_data()
        assert await manager.is_data_ready(20)
        assert not await manager.is_data_ready(10**6)
        await manager.stop_realtime_feed()
        assert not manager.is_running
        after = await manager.get_data("1sec")
        own = session.table(MNQ, "1s")
        await manager.cleanup()
        assert await manager.get_data("1sec") is None
        return history, live, after, own, price, ohlc, stats, score, status, valid, mtf, session.summary

    history, live, after, own, price, ohlc, stats, score, status, valid, mtf, summary = asyncio.run(main())
    assert summary.lost == 0
    assert history.schema == live.schema
    assert live.columns == ["timestamp", "open", "high", "low", "close", "volume"]
    assert live["timestamp"].is_sorted()
    assert live["timestamp"].n_unique() == live.height <= 1000
    assert live["timestamp"][-1] > history["timestamp"][-1]
    assert (status, score) == ("connected", 100.0)
    assert price % 0.25 == 0
    assert ohlc["low"] <= price <= ohlc["high"] or abs(price - ohlc["close"]) < 50
    assert stats["ticks_processed"] > 0
    assert stats["total_bars_stored"] == sum(frame.height for frame in mtf.values())
    assert stats["buffer_overflow_stats"] == {"dropped_bars": 0}
    assert valid["data_available"] == {"1sec": True, "1min": True}
    # what the frames say of bars that began after the session is what the session has, to the bit
    whole = [row for row in own.to_pylist() if row["flags"] == ""]
    assert len(whole) >= 2
    by_time = {row[0].timestamp(): row[1:] for row in after.rows()}
    for row in whole:
        expected = tuple(row[name] for name in ("open", "high", "low", "close", "volume"))
        assert by_time[row["open_time"].timestamp()] == expected
    opened = [event["bar_time"] for event in seen.events["new_bar"] if event["timeframe"] == "1sec"]
    assert opened == sorted(set(opened))
    traded = sum(event["volume"] for event in seen.events["data_update"])
    assert traded == sum(row["volume"] for row in own.to_pylist())
    assert threads() == []


def test_two_managers_share_a_session_and_leave_it_running(gateway: tuple[Emulator, str], client: Any) -> None:
    running, key = gateway
    config = {
        "gateway.api_url": running.api_url,
        "gateway.market_hub_url": running.market_hub_url,
        "gateway.user_hub_url": running.user_hub_url,
        "session.contracts": (MNQ,),
        "session.timeframes": ("1s", "1m"),
    }

    async def main() -> None:
        credentials = tickloom.Credentials("tester", tickloom.Secret(key), "the test")
        async with tickloom.Session(config, credentials=credentials) as session:
            one = RealtimeDataManager("MNQ", client, session, timeframes=["1sec"])
            two = RealtimeDataManager("ES", client, session, timeframes=["1sec", "1min"])
            odd = RealtimeDataManager("MNQ", client, session, timeframes=["15min"])
            for manager in (one, two, odd):
                await manager.initialize()
            seen = Seen()
            await two.add_callback("new_bar", seen)
            await one.start_realtime_feed()
            await two.start_realtime_feed()
            with pytest.raises(tickloom.UsageError, match="does not build 15m"):
                await odd.start_realtime_feed()
            assert set(session.contracts) == {MNQ, "CON.F.US.EP.Z25"}
            await seen.wait("new_bar", 2)
            prices = [await one.get_current_price(), await two.get_current_price()]
            assert None not in prices
            assert prices[0] != prices[1]
            await one.cleanup()
            await two.cleanup()
            assert session.health().status == "healthy"

    asyncio.run(main())
    assert threads() == []


def test_a_callback_that_fails_and_stops_the_feed_does_neither_harm_nor_hang(client: Any) -> None:
    async def main() -> tuple[int, list[dict[str, Any]], bool]:
        manager = RealtimeDataManager("MNQ", client, None, timeframes=["1sec"])
        await manager.initialize()
        done = asyncio.Event()

        async def stop(event: Any) -> None:
            await manager.stop_realtime_feed()
            done.set()

        def broken(event: Any) -> None:
            raise ValueError("the strategy is wrong")

        await manager.add_callback("new_bar", broken)
        await manager.add_callback("new_bar", stop)
        await manager.start_realtime_feed()
        async with asyncio.timeout(20):
            await done.wait()
        errors = await manager.get_recent_errors()
        count, up = await manager.get_error_count(), manager.is_running
        await manager.cleanup()
        return count, errors, up

    logging.getLogger("tickloom.compat").setLevel(logging.CRITICAL)
    try:
        count, errors, up = asyncio.run(main())
    finally:
        logging.getLogger("tickloom.compat").setLevel(logging.NOTSET)
    assert count >= 1
    assert errors[0]["message"] == "the strategy is wrong"
    assert not up
    assert threads() == []


def test_the_reads_that_follow_from_bars(client: Any) -> None:
    async def main() -> None:
        manager = RealtimeDataManager("ES", client, None, timeframes=["1min"])
        assert await manager.get_data("1min") is None
        assert await manager.get_ohlc("1min") is None
        await manager.initialize()
        frame = await manager.get_data("1min")
        assert frame is not None
        last = frame.row(-1, named=True)
        assert await manager.get_current_price() == last["close"]
        assert await manager.get_ohlc("1min") == {
            name: float(last[name]) for name in ("open", "high", "low", "close", "volume")
        }
        spread = await manager.get_price_range(5, "1min")
        newest = frame.tail(5)
        assert spread is not None
        assert (spread["high"], spread["low"]) == (newest["high"].max(), newest["low"].min())
        assert spread["range"] == spread["high"] - spread["low"]
        assert await manager.get_price_range(10**6, "1min") is None
        volumes = await manager.get_volume_stats(5, "1min")
        assert volumes is not None
        assert volumes["total"] == newest["volume"].sum()
        assert volumes["relative"] == pytest.approx(newest["volume"][-1] / newest["volume"].mean())
        since = frame["timestamp"][-3]
        assert (await manager.get_bars_since(since, "1min")).height == 3  # type: ignore[union-attr]
        naive = (since + timedelta(seconds=1)).replace(tzinfo=None)
        assert (await manager.get_bars_since(naive, "1min")).height == 2  # type: ignore[union-attr]
        assert await manager.get_data_or_none("1min", 10**6) is None
        assert (await manager.get_latest_bars(2, "1min")).height == 2  # type: ignore[union-attr]
        assert await manager.get_data("5min") is None, "not among its timeframes"
        assert (await manager.get_session_data("1min")).height == frame.height  # type: ignore[union-attr]
        assert await manager.get_session_data("1min", "RTH") is None

    asyncio.run(main())


def test_the_feed_needs_a_contract_first_and_an_unknown_one_is_named_with_what_comes_near(client: Any) -> None:
    async def main() -> None:
        with pytest.raises(tickloom.UsageError, match=r"initialize\(\) first"):
            await RealtimeDataManager("MNQ", client, None).start_realtime_feed()
        with pytest.raises(tickloom.UsageError, match="'NQX' is unknown"):
            await RealtimeDataManager("NQX", client, None).initialize()

    asyncio.run(main())


def test_a_client_that_can_is_asked_for_contract_and_history() -> None:
    asked: list[Any] = []

    class Client:
        async def get_instrument(self, symbol: str) -> Any:
            asked.append(symbol)
            return SimpleNamespace(id=MNQ, tickSize=0.25)

        async def get_bars(self, symbol: str, *, interval: int, unit: int, days: int) -> Any:
            asked.append((symbol, interval, unit, days))
            return pl.DataFrame()

    manager = RealtimeDataManager("NQ", Client(), None, timeframes=["4hr", "1day"])
    assert asyncio.run(manager.initialize(initial_days=3))
    assert asked == ["NQ", ("NQ", 240, 2, 3), ("NQ", 1, 4, 3)]
    assert (manager.contract_id, manager.tick_size, manager.data) == (MNQ, 0.25, {})


@pytest.mark.parametrize(
    ("symbol", "chosen"),
    [
        ("MNQ", "CON.F.US.MNQ.H26"),
        ("mnqz5", "CON.F.US.MNQ.Z25"),
        ("ENQ", "CON.F.US.ENQ.Z25"),
        ("NQ", "CON.F.US.ENQ.Z25"),
    ],
)
def test_a_product_is_its_active_contract_and_a_name_is_itself(symbol: str, chosen: str) -> None:
    contracts = [
        ContractModel("CON.F.US.MNQ.Z25", 0.25, 0.5, "MNQZ5", symbol_id="F.US.MNQ"),
        ContractModel("CON.F.US.MNQ.H26", 0.25, 0.5, "MNQH6", active_contract=True, symbol_id="F.US.MNQ"),
        ContractModel("CON.F.US.ENQ.Z25", 0.25, 5.0, "NQZ5", active_contract=True, symbol_id="F.US.ENQ"),
    ]
    found = choose(symbol, contracts)
    assert found is not None
    assert found.id == chosen
    assert choose("ZZ", contracts) is None
