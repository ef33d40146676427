"""Live throughput and latency: the emulator in its own process, a loopback WebSocket, eight timeframes, recorder on.

    python benchmarks/live.py [--rate 10000] [--seconds 20] [--prints 1]

Latency is from the receipt of a frame (the socket's bytes in this process) to the moment the bar of the slowest timeframe was
updated, weighted by ticks, and counts the oldest frame of a batch for all of it. Times are this machine's; the lines to
quote are the share of a core and that nothing was lost. The emulator shares the machine's cores.
"""

from __future__ import annotations

import argparse
import gc
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

import tickloom
from tickloom.config.secrets import Secret
from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--prints", type=int, default=1, help="prints a frame: messages are gathered by the emulator")
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    key = secrets.token_urlsafe(16)
    shape = ["--steady", "--batch-max", str(options.prints), "--coalesce-ms", "0" if options.prints == 1 else "1"]
    with tempfile.TemporaryDirectory() as place, Emulator(CONTRACTS, rate=options.rate, user="bench", key=key, options=shape) as gateway:
        session = tickloom.Session(
            {
                "gateway.api_url": gateway.api_url,
                "gateway.market_hub_url": gateway.market_hub_url,
                "gateway.user_hub_url": gateway.user_hub_url,
                "session.contracts": CONTRACTS,
                "recorder.dir": str(Path(place) / "log"),
            },
            credentials=tickloom.Credentials("bench", Secret(key), "benchmark"),
        )
        session.start()
        time.sleep(options.warmup)
        cpu, began, ticks = time.process_time(), time.monotonic(), session.statistics().ticks
        time.sleep(options.seconds)
        cpu, seconds = time.process_time() - cpu, time.monotonic() - began
        ticks = session.statistics().ticks - ticks
        view = session.tree()
        summary = session.stop()
        depths = {v.path: v.high_water for v in view.walk() if v.kind != "supervisor" and v.high_water > 2}
    print(
        json.dumps(
            {
                "rate_asked": options.rate,
                "ticks_per_second": round(ticks / seconds),
                "lost": summary.lost,
                "p50_ms": summary.p50_ms,
                "p99_ms": summary.p99_ms,
                "cores": round(cpu / seconds, 2),
                "ticks_per_cpu_second": round(ticks / cpu),
                "high_water": depths,
            }
        )
    )


if __name__ == "__main__":
    main()
