"""The bare sketch: the least a program can do between the socket and eight timeframes, beside which `live.py` is read.

    python benchmarks/sketch.py [--rate 10000] [--seconds 10] [--prints 1]

One asyncio loop, aiohttp and msgspec: a frame is decoded, each print is put into a dictionary of eight timeframes, and
when the reader has drained what the socket brought, the clock is read once for all of it. No log, no validation, no
order, no late prints, no supervision, no bars that anybody could have, and nothing that bounds anything. The emulator
is the same as `live.py`'s, in a process of its own, over a loopback WebSocket. So what this takes is what the machine,
the interpreter, the socket and the decoding take; what is beyond it in `live.py` is ours. `live.py` runs it after
itself. `calm`: of the ticks that came while memory was not slow for everybody (`witness.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import secrets
import sys
import time
from array import array
from datetime import datetime
from typing import Any

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray
from witness import Witness

from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
SECONDS = (1, 5, 15, 60, 300, 900, 3_600, 86_400)
MARK = "\x1e"


class Trade(msgspec.Struct):
    """A print, as far as a bar wants it."""

    timestamp: datetime
    price: float
    volume: int


class Invocation(msgspec.Struct):
    """A SignalR message, as far as we look at it."""

    type: int = 0
    target: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"[]")


_message = msgspec.json.Decoder(Invocation)
_arguments = msgspec.json.Decoder(tuple[str, list[Trade]])
Bar = list[Any]


def fold(bars: dict[tuple[str, int, int], Bar], contract: str, stamp_s: float, price: float, size: int) -> None:
    """Put one print into its eight bars."""
    for seconds in SECONDS:
        key = (contract, seconds, int(stamp_s) // seconds)
        bar = bars.get(key)
        if bar is None:
            bars[key] = [price, price, price, price, size, 1]
            continue
        if price > bar[1]:
            bar[1] = price
        elif price < bar[2]:
            bar[2] = price
        bar[3] = price
        bar[4] += size
        bar[5] += 1


class Sketch:
    """The whole program."""

    def __init__(self) -> None:
        self.bars: dict[tuple[str, int, int], Bar] = {}
        self.stamps = array("d")
        self.late_ms = array("d")
        self._fresh: list[float] = []

    def take(self, text: str) -> None:
        """Fold a frame's messages."""
        for part in text.split(MARK):
            if not part:
                continue
            message = _message.decode(part)
            if message.type == 1 and message.target == "GatewayTrade":
                contract, trades = _arguments.decode(message.arguments)
                for trade in trades:
                    stamp = trade.timestamp.timestamp()
                    fold(self.bars, contract, stamp, trade.price, trade.volume)
                    self._fresh.append(stamp)

    def drained(self) -> None:
        """What the socket brought is in the bars: note when."""
        now, fresh, self._fresh = time.time(), self._fresh, []
        self.stamps.extend(fresh)
        self.late_ms.extend([(now - stamp) * 1e3 for stamp in fresh])


async def run(gateway: Emulator, key: str, seconds: float, sketch: Sketch) -> None:
    """Log in, subscribe, and fold for `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with aiohttp.ClientSession() as http:
        asked = {"userName": "bench", "apiKey": key}
        async with http.post(f"{gateway.api_url}/api/Auth/loginKey", json=asked) as answer:
            token = (await answer.json())["token"]
        async with http.ws_connect(gateway.market_hub_url, headers={"Authorization": f"Bearer {token}"}) as socket:
            await socket.send_str('{"protocol":"json","version":1}' + MARK)
            for number, contract in enumerate(CONTRACTS):
                call = {"type": 1, "invocationId": str(number), "target": "SubscribeContractTrades"}
                await socket.send_str(json.dumps({**call, "arguments": [contract]}) + MARK)
            due = False

            def drained() -> None:
                nonlocal due
                due = False
                sketch.drained()

            while loop.time() < end:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise SystemExit(f"the gateway ended the connection: {message}")
                sketch.take(message.data)
                if not due:
                    due = True
                    loop.call_soon(drained)


def spread(late_ms: NDArray[np.float64]) -> list[float]:
    """Return p50, p99, p99.9 and the maximum."""
    if not len(late_ms):
        return []
    return [round(float(v), 3) for v in (*np.percentile(late_ms, (50, 99, 99.9)), late_ms.max())]


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--prints", type=int, default=1)
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    key = secrets.token_urlsafe(16)
    shape = ["--steady", "--batch-max", str(options.prints), "--coalesce-ms", "0" if options.prints == 1 else "1"]
    sketch = Sketch()
    emulator = Emulator(CONTRACTS, rate=options.rate, user="bench", key=key, options=shape)
    with Witness() as witness, emulator as gateway:
        began, cpu = time.time(), time.process_time()
        asyncio.run(run(gateway, key, options.warmup + options.seconds, sketch))
        cpu = time.process_time() - cpu
    stamps, late = np.array(sketch.stamps), np.array(sketch.late_ms)
    chosen = stamps >= began + options.warmup
    calm = witness.calm((stamps[chosen] * 1e9).astype(np.int64))
    late = late[chosen]
    figures = {
        "rate_asked": options.rate,
        "prints": options.prints,
        "ticks_per_second": round(len(late) / options.seconds),
        "stamp_p50_p99_p999_max_ms": spread(late),
        "calm_p50_p99_p999_max_ms": spread(late[calm]),
        "calm_share": round(float(calm.mean()), 3),
        "cores": round(cpu / (options.warmup + options.seconds), 2),
        "bars": len(sketch.bars),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
