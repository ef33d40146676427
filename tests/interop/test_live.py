"""A live session against the real gateway: every tick its truth says it delivered is in the bars, and no other."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

import tickloom

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
NS = 1_000_000_000
pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


def session_on(gateway: Any, folder: Any) -> tickloom.Session:
    hub = gateway.url
    return tickloom.Session(
        {
            "gateway.api_url": hub,
            "gateway.market_hub_url": f"{hub}/hubs/market",
            "gateway.user_hub_url": f"{hub}/hubs/user",
            "session.contracts": CONTRACTS,
            "session.timeframes": "1s,5s,1m",
            "validation.zero_size": "reject",  # the gateway's bad ticks have size 0, among others
            "recorder.dir": str(folder / "log"),
        },
        credentials=tickloom.Credentials("tester", tickloom.Secret("test-key"), "the gateway's default"),
    )


def truth_bars(gateway: Any, contract: str, width_s: int) -> dict[int, tuple[float, float, float, float, int, int]]:
    """Bars by open time, made by hand from the ticks that were delivered to any connection."""
    ticks: dict[int, dict[str, Any]] = {}
    for connection in gateway.get(f"/truth/sent?contract={contract}")[0]:
        for first, last in connection["sent"]["ranges"]:
            for tick in gateway.get(f"/truth?contract={contract}&from={first}&to={last}"):
                ticks[tick["i"]] = tick
    bars: dict[int, list[tuple[int, int, float, int]]] = defaultdict(list)
    for i, tick in ticks.items():
        bars[tick["t_ns"] // (width_s * NS) * width_s * NS].append((tick["t_ns"], i, tick["price"], tick["volume"]))
    made = {}
    for start, rows in bars.items():
        rows.sort()
        prices = [row[2] for row in rows]
        made[start] = (prices[0], max(prices), min(prices), prices[-1], sum(row[3] for row in rows), len(rows))
    return made


def our_bars(session: tickloom.Session, contract: str, timeframe: str) -> dict[int, tuple[Any, ...]]:
    table = session.table(contract, timeframe)
    names = ("open", "high", "low", "close", "volume", "trades")
    starts = table["open_time"].cast("int64").to_pylist()
    return dict(zip(starts, zip(*(table[name].to_pylist() for name in names), strict=True), strict=True))


def run_until(session: tickloom.Session, trades: int) -> None:
    """Wait until so many trades were accepted, by the bars that close."""
    seen = 0
    for bar in session.bars(timeframe="1s"):
        seen += bar.trades
        if seen >= trades:
            return


@pytest.mark.parametrize(
    "switches", [{}, {"bad_pct": 5}, {"batch_max": 1, "coalesce_ms": 0}], ids=["plain", "bad", "single"]
)
def test_every_tick_delivered_is_in_the_bars(
    start_gateway: Callable[..., Any], tmp_path: Any, switches: dict[str, Any]
) -> None:
    gateway = start_gateway(TICK_RATE=300)
    if switches:
        gateway.chaos(**switches)
    with session_on(gateway, tmp_path) as session:
        run_until(session, 3000)
        for contract in CONTRACTS:
            session.unsubscribe(contract)
        summary = session.stop()
        assert summary.lost == 0
        for contract in CONTRACTS:
            for timeframe, width in (("1s", 1), ("5s", 5), ("1m", 60)):
                ours, truth = our_bars(session, contract, timeframe), truth_bars(gateway, contract, width)
                assert truth, "the gateway delivered something"
                assert ours == truth
        if "bad_pct" in switches:
            assert summary.rejected > 0
    replayed = tickloom.replay(tmp_path / "log", verify=True)
    assert replayed.digest == summary.digest
    assert [t.name for t in threading.enumerate() if t.name.startswith("tickloom")] == []


def test_the_token_goes_into_the_header_alone(start_gateway: Callable[..., Any], tmp_path: Any) -> None:
    gateway = start_gateway(TICK_RATE=50, ALLOW_QUERY=1)
    with session_on(gateway, tmp_path) as session:
        run_until(session, 50)
    gateway.process.terminate()
    assert gateway.process.stdout is not None
    where = [line for line in gateway.process.stdout if b'"connect"' in line or b"tokenFrom" in line]
    assert where
    assert all(b"header" in line and b"query" not in line for line in where), where
