"""A session against the real gateway whose link breaks: what was lost is healed, and the bars are the market's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import tickloom

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
FRAMES = {"1s": 1, "2s": 2, "1m": 60}
NS = 1_000_000_000
pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


def truth(gateway: Any, contract: str, width: int, from_ns: int) -> dict[int, tuple[float, float, float, float, int]]:
    """The market's own bars from a time on, whatever anyone was sent of them."""
    address = f"/truth/bars?contract={contract}&unit_seconds={width}&from_ns={from_ns}"
    bars = gateway.get(address)
    bars = bars[0] if bars and isinstance(bars[0], list) else bars
    return {bar["t_ns"]: (bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in bars if bar["complete"]}


def rows(source: Any, contract: str, frame: str) -> dict[int, dict[str, Any]]:
    table = source.table(contract, frame)
    return dict(zip(table["open_time"].cast("int64").to_pylist(), table.to_pylist(), strict=True))


def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail(f"{what} did not come")


@pytest.mark.parametrize("switches", [{}, {"out_of_order_pct": 5}], ids=["plain", "out of order"])
def test_what_breaks_lost_is_healed_and_the_bars_are_the_markets_own(
    start_gateway: Callable[..., Any], tmp_path: Any, switches: dict[str, Any]
) -> None:
    gateway = start_gateway(TICK_RATE=300)
    if switches:
        gateway.chaos(**switches)
    session = tickloom.Session(
        {
            "gateway.api_url": gateway.url,
            "gateway.market_hub_url": f"{gateway.url}/hubs/market",
            "gateway.user_hub_url": f"{gateway.url}/hubs/user",
            "gateway.reconnect_base_s": 0.05,
            "session.contracts": CONTRACTS,
            "session.timeframes": ",".join(FRAMES),
            "session.heal_delay_s": 1.0,
            "recorder.dir": str(tmp_path / "log"),
        },
        credentials=tickloom.Credentials("tester", tickloom.Secret("test-key"), "the gateway's default"),
    )

    def healed() -> int:
        return session.statistics().counters.get("/feed/healing", {}).get("healed", 0)

    with session:
        stream = session.bars(CONTRACTS[0], "1s")
        next(stream)
        next(stream)
        wanted = 0
        for how in ("tcp", "reset"):
            wanted += len(CONTRACTS)
            gateway.chaos(refuse_upgrade=1.5)
            gateway.chaos(abort=how)
            until(lambda: healed() >= wanted, f"history after '{how}'")  # noqa: B023 - called before it changes
            next(stream)
        until(lambda: session.table(CONTRACTS[0], "1s").num_rows >= 8, "bars")
    summary = session.summary
    assert summary is not None
    assert (summary.gaps, summary.lost) == (2 * len(CONTRACTS), 0)
    replayed = tickloom.replay(tmp_path / "log", verify=True)
    assert replayed.digest == summary.digest
    for contract in CONTRACTS:
        began = min(rows(session, contract, "1s")) + NS
        for frame, seconds in FRAMES.items():
            width = seconds * NS
            expected = truth(gateway, contract, seconds, -(-began // width) * width)
            ours = {at: row for at, row in rows(session, contract, frame).items() if at in expected}
            ours = {at: row for at, row in ours.items() if "partial" not in row["flags"]}
            assert ours.keys() == {at for at in expected if at <= max(ours, default=0)}
            for at, row in ours.items():
                assert "gap" not in row["flags"]
                assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == expected[at]
        assert sum("healed" in row["flags"] for row in rows(session, contract, "1s").values()) >= 4
