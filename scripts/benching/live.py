"""A live session over a loopback WebSocket from the emulator in another process: recorder on, eight timeframes.

There is no peer: nothing else speaks this gateway's protocol and keeps every print. What carries over to other machines
is that nothing is lost, and the share of a core. The emulator shares the cores, so latencies are an upper bound.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tickloom
from tickloom.config.secrets import Secret
from tickloom.scripts.benching.figures import Figure
from tickloom.scripts.emulator import Emulator

CONTRACTS: Final = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
WARM_UP_S: Final = 1.0


def measure(
    place: Path, rate: float, seconds: float, wait: Callable[[float], object], cancelled: Callable[[], bool]
) -> list[Figure]:
    """Measure one session.

    Args:
        place: a folder for the log.
        rate: prints a second that the emulator makes, one a frame.
        seconds: how long.
        wait: waits for so many seconds, or less when it is called off.
        cancelled: whether it is called off.
    """
    key = secrets.token_urlsafe(16)
    shape = ["--steady", "--batch-max", "1", "--coalesce-ms", "0"]
    with Emulator(CONTRACTS, rate=rate, user="bench", key=key, options=shape, cancelled=cancelled) as gateway:
        session = tickloom.Session(
            {
                "gateway.api_url": gateway.api_url,
                "gateway.market_hub_url": gateway.market_hub_url,
                "gateway.user_hub_url": gateway.user_hub_url,
                "session.contracts": CONTRACTS,
                "session.timeframes": "1s,5s,15s,1m,5m,15m,1h,1d",
                "recorder.dir": str(place / "live"),
                "http.enabled": False,
            },
            credentials=tickloom.Credentials("bench", Secret(key), "benchmark"),
        )
        session.start(cancelled)
        wait(WARM_UP_S)
        ticks, cpu, began = session.statistics().ticks, time.process_time(), time.monotonic()
        wait(seconds)
        cpu, took = time.process_time() - cpu, time.monotonic() - began
        ticks = session.statistics().ticks - ticks
        summary = session.stop()
    note = f"{rate:,.0f} prints/s asked, one a frame, for {seconds:g} s; recorder on, eight timeframes; no peer"
    figures = [("live: delivered", "prints/s", ticks / took), ("live: lost", "prints", float(summary.lost))]
    figures.append(("live: cores used", "cores", cpu / took))
    if summary.p50_ms is not None and summary.p99_ms is not None:
        figures += [
            ("live: receipt to bar, p50", "ms", summary.p50_ms),
            ("live: receipt to bar, p99", "ms", summary.p99_ms),
        ]
    return [Figure(name=name, unit=unit, ours=value, note=note) for name, unit, value in figures]
