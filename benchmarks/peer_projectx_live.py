"""What reaches the bars, live: project-x-py 4.4.1 and `tickloom.compat` on the same emulator, one after the other.

    pip install -e '.[compat]' 'project-x-py==4.4.1'        # into an environment with Python 3.12
    python benchmarks/peer_projectx_live.py [--rate 50] [--seconds 15]

The emulator runs in a process of its own, one contract, one print a frame, a quote with each print, at an even rate. The
peer is set up as its documents say: `ProjectX`, `ProjectXRealtimeClient`, `RealtimeDataManager` with eight timeframes;
nothing of it is changed. What it received is counted by a callback of its own on its real-time client; what is in its
bars is the volume of those of its one-second bars that began after the feed. Ours is the volume of the session's own
one-second bars, against the session's account. CPU is that of the process, from the start of the feed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import polars as pl

from tickloom.compat import RealtimeDataManager
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"
FRAMES = ["1sec", "5sec", "15sec", "1min", "5min", "15min", "1hr", "4hr"]


async def peer(gateway: Emulator, key: str, seconds: float) -> dict[str, Any]:
    """Return what the peer received, what is in its bars, and what it took."""
    from project_x_py import ProjectX
    from project_x_py.models import ProjectXConfig
    from project_x_py.realtime import ProjectXRealtimeClient
    from project_x_py.realtime_data_manager import RealtimeDataManager as Theirs

    urls = {"market_hub_url": gateway.market_hub_url, "user_hub_url": gateway.user_hub_url}
    config = ProjectXConfig(api_url=f"{gateway.api_url}/api", **urls)
    async with ProjectX(username="bench", api_key=key, config=config) as client:
        await client.authenticate()
        hub = ProjectXRealtimeClient(jwt_token=client.session_token, account_id="1", config=config)
        assert await hub.connect()
        manager = Theirs("MNQ", client, hub, timeframes=FRAMES)
        await manager.initialize()
        received = {"prints": 0, "volume": 0}

        async def count(update: dict[str, Any]) -> None:
            data = update["data"]
            for entry in data if isinstance(data, list) else [data]:
                received["prints"] += 1
                received["volume"] += entry["volume"]

        await hub.add_callback("market_trade", count)
        began, cpu = datetime.now(manager.timezone).replace(microsecond=0), time.process_time()
        await manager.start_realtime_feed()
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        bars = (await manager.get_data("1sec")).filter(pl.col("timestamp") >= began)
        figures = {"received": received["volume"], "in_bars": int(bars["volume"].sum()), "cpu_s": cpu}
        await manager.cleanup()
        await hub.disconnect()
    return figures


async def ours(gateway: Emulator, key: str, seconds: float) -> dict[str, Any]:
    """Return the same of ours."""
    urls = {"api_url": gateway.api_url, "market_hub_url": gateway.market_hub_url, "user_hub_url": gateway.user_hub_url}
    client = SimpleNamespace(username="bench", api_key=key, config=SimpleNamespace(**urls))
    manager = RealtimeDataManager("MNQ", client, None, timeframes=FRAMES)
    await manager.initialize()
    told = {"volume": 0}

    def count(update: Any) -> None:
        told["volume"] += update["volume"]

    await manager.add_callback("data_update", count)
    cpu = time.process_time()
    await manager.start_realtime_feed()
    await asyncio.sleep(seconds)
    cpu = time.process_time() - cpu
    await manager.stop_realtime_feed()
    session = manager.session
    assert session is not None
    assert session.summary is not None
    assert session.summary.lost == 0, "every print received is in a bar"
    in_bars = sum(session.table(MNQ, "1s")["volume"].to_pylist())
    assert told["volume"] == in_bars, "callbacks were told all of it"
    return {"received": in_bars, "in_bars": in_bars, "cpu_s": cpu}


def main() -> None:
    """Measure both and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    figures: dict[str, Any] = {"rate": given.rate, "seconds": given.seconds}
    for name, side in (("peer", peer), ("ours", ours)):
        key = secrets.token_urlsafe(16)
        options = ["--steady", "--no-rate-limits", "--allow-query"]
        with Emulator((MNQ,), rate=given.rate, user="bench", key=key, options=options) as gateway:
            figures[name] = asyncio.run(side(gateway, key, given.seconds))
        figures[name]["kept"] = figures[name]["in_bars"] / figures[name]["received"]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
