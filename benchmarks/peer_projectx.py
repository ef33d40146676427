"""Against project-x-py 4.4.1: the same ticks, eight timeframes, Python 3.12; CPU, peak memory, and waiting for locks.

    python benchmarks/peer_projectx.py [--python PYTHON3.12] [--peer-ticks 2000] [--ticks 1000000] [--burst 20] [--readers 0]

Two virtual environments are made once, under `${XDG_CACHE_HOME:-~/.cache}/tickloom`: project-x-py 4.4.1 from PyPI, and
this repository, editable. Each side runs in a process of its own and takes decoded ticks; nobody touches a network.

The peer's `RealtimeDataManager` is set up by its own `initialize`, with a stand-in for its REST client that knows one
instrument and one old bar; then each tick is a task that runs `_process_tick_data`, as its hub callbacks make them,
`--burst` of them at a time. Its rate limit of one update a millisecond is taken off: with it, most ticks of a burst are
thrown away. It gets the first `--peer-ticks` of our `--ticks`; `ours, as few` is our side with no more than that. Ours
are `--burst` prints a frame, through validation, reduction and eight timeframe actors with history and digest.

A wait is an acquisition that found the lock held, or had to wait for readers to be done: `asyncio.Lock.acquire` and
`asyncio.Condition.wait` there; here any lock taken with `with`, which is all of them but those that a thread sleeps on
when it has nothing to do. A ratio of null: the peer had none. `--readers` read the last 50 one-minute bars and the last
price over and over beside the feed, as strategies and pages do: tasks there, threads here, each some hundred times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PEER = "project-x-py==4.4.1"
PEER_FRAMES = ("1sec", "5sec", "15sec", "1min", "5min", "15min", "1hr", "1day")
OUR_FRAMES = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
NS = 1_000_000_000
START = 1_750_000_000 * NS
PAUSE_S = 0.005
"""Between two reads of a reader."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickloom"


class Waits:
    """How often a lock was taken, how often it was held by another, and how long that took."""

    def __init__(self) -> None:
        self.taken = self.waited = self.waited_ns = 0


def ticks(count: int, burst: int) -> Iterator[tuple[list[int], list[float], list[int]]]:
    """Yield stamps (ns), prices and sizes, `burst` at a time: 10 ticks a second, the same for both sides.

    Made as they are needed: what a market sent is not what a side must remember.
    """
    rng = random.Random(7)
    ts, price = START, 20_000
    for at in range(0, count, burst):
        stamps, prices, sizes = [], [], []
        for _ in range(min(burst, count - at)):
            ts += int(rng.expovariate(10) * NS)
            price += rng.randrange(-1, 2)
            stamps.append(ts)
            prices.append(price * 0.25)
            sizes.append(rng.randrange(1, 9))
        yield stamps, prices, sizes


def figures(count: int, cpu: float, wall: float, waits: Waits) -> dict[str, Any]:
    """Return what one side needed."""
    return {
        "ticks": count,
        "ticks_per_cpu_second": count / cpu,
        "ticks_per_second": count / wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "lock_waits_per_1000_ticks": waits.waited / count * 1000,
        "lock_taken_per_tick": waits.taken / count,
        "waited_us_per_tick": waits.waited_ns / count / 1000,
    }


# --- the peer ---------------------------------------------------------------------------------------------------------


def count_asyncio_locks(waits: Waits) -> None:
    """Have every `asyncio.Lock` count."""
    plain = asyncio.Lock.acquire

    async def acquire(self: asyncio.Lock) -> Any:
        waits.taken += 1
        if not self.locked():
            return await plain(self)
        waits.waited += 1
        began = time.perf_counter_ns()
        try:
            return await plain(self)
        finally:
            waits.waited_ns += time.perf_counter_ns() - began

    asyncio.Lock.acquire = acquire  # type: ignore[method-assign, assignment]
    sleep = asyncio.Condition.wait

    async def wait(self: asyncio.Condition) -> Any:
        waits.waited += 1
        began = time.perf_counter_ns()
        try:
            return await sleep(self)
        finally:
            waits.waited_ns += time.perf_counter_ns() - began

    asyncio.Condition.wait = wait  # type: ignore[method-assign, assignment]


async def _peer(count: int, burst: int, readers: int) -> dict[str, Any]:
    from datetime import datetime

    import polars as pl
    from project_x_py.realtime_data_manager import RealtimeDataManager  # type: ignore[import-not-found]

    logging.disable(logging.CRITICAL)
    zone = UTC
    old = datetime.fromtimestamp(START // NS - 10, zone)
    bar = {"timestamp": [old], "open": [5000.0], "high": [5000.0], "low": [5000.0], "close": [5000.0], "volume": [1]}

    async def instrument(name: str) -> Any:
        return SimpleNamespace(id="CON.F.US.EP.Z25", symbolId="F.US.EP", tickSize=0.25, name=name)

    async def bars(*_: Any, **__: Any) -> pl.DataFrame:
        return pl.DataFrame(bar)

    rest = SimpleNamespace(get_instrument=instrument, get_bars=bars)
    bus = SimpleNamespace(emit=_nothing)
    manager = RealtimeDataManager("ES", rest, SimpleNamespace(), bus, timeframes=list(PEER_FRAMES), timezone="UTC")
    await manager.initialize()
    manager.is_running = True
    manager._min_update_interval = -1.0
    waits = Waits()
    count_asyncio_locks(waits)
    reads = [0]

    async def read() -> None:
        while manager.is_running:
            await manager.get_data("1min", bars=50)
            await manager.get_current_price()
            reads[0] += 1
            await asyncio.sleep(PAUSE_S)

    reading = [asyncio.create_task(read()) for _ in range(readers)]
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for columns in ticks(count, burst):
        given = [
            {"timestamp": datetime.fromtimestamp(ts / NS, zone), "price": price, "volume": size, "type": "trade"}
            for ts, price, size in zip(*columns, strict=True)
        ]
        await asyncio.gather(*(manager._process_tick_data(tick) for tick in given))
        await asyncio.sleep(0)  # a feed lets others have a turn between two of its messages
    made = figures(count, time.process_time() - cpu, time.perf_counter() - wall, waits)
    made["processed"] = manager.memory_stats["ticks_processed"]
    made["bars"] = sum(len(frame) - 1 for frame in manager.data.values())
    made["reads"] = reads[0]
    manager.is_running = False
    await asyncio.gather(*reading)
    return made


async def _nothing(*_: Any, **__: Any) -> None:
    return None


# --- ours -------------------------------------------------------------------------------------------------------------


def count_thread_locks(waits: Waits) -> None:
    """Have every lock that is taken with `with` count. To be called before the package is imported."""
    make = threading.Lock

    class Counted:
        def __init__(self) -> None:
            lock = make()
            self._lock = lock
            self.acquire, self.release, self.locked = lock.acquire, lock.release, lock.locked

        def __enter__(self) -> bool:
            if self._lock.acquire(blocking=False):
                waits.taken += 1
                return True
            began = time.perf_counter_ns()
            self._lock.acquire()
            waits.taken += 1
            waits.waited += 1
            waits.waited_ns += time.perf_counter_ns() - began
            return True

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    threading.Lock = Counted  # type: ignore[misc, assignment]


def _ours(count: int, burst: int, readers: int) -> dict[str, Any]:
    waits = Waits()
    count_thread_locks(waits)
    from tickloom.config.settings import settings_from
    from tickloom.engine import Engine
    from tickloom.messages.control import SessionStarted, SessionStopped
    from tickloom.messages.intake import Frames, Numbered
    from tickloom.messages.market import Instrument, Prints
    from tickloom.wiring import VALIDATION, Wires

    contract = "CON.F.US.EP.Z25"
    engine = Engine(Wires(settings=settings_from({"session": {"timeframes": list(OUR_FRAMES)}}), session="peer"))
    engine.start()
    put = engine.tree.ref(VALIDATION).put
    start = SessionStarted(
        recv_ns=START, version="", settings={}, instruments=(Instrument(contract, 1, 4),), timeframes=OUR_FRAMES
    )
    put(Numbered(1, start))
    reads, over = [0], threading.Event()

    def read() -> None:
        while not over.is_set():
            engine.table(contract, "1m", 50, partial=True)
            engine.latest(contract)
            reads[0] += 1
            time.sleep(PAUSE_S)

    if readers:
        engine.table(contract, "1m", 50, partial=True)  # Arrow is loaded with the first table
    reading = [threading.Thread(target=read) for _ in range(readers)]
    for reader in reading:
        reader.start()
    waits.taken = waits.waited = waits.waited_ns = 0
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    at = 0
    for ts, prices, sizes in ticks(count, burst):
        n = len(ts)
        prints = Prints((contract,), [0] * n, ts, prices, sizes, [2] * n, [0] * n, at)
        put(Numbered(2 + at, Frames("peer", [ts[-1]], [ts[-1]], None, prints)))
        at += n
    put(Numbered(2 + count, SessionStopped(recv_ns=ts[-1])))
    engine.drain()
    made = figures(count, time.process_time() - cpu, time.perf_counter() - wall, waits)
    made["reads"] = reads[0]
    over.set()
    for reader in reading:
        reader.join()
    summary = engine.summary(received=count, seconds=1.0, gaps=0, log=None, out=None, latency=False)
    made["processed"] = count - summary.rejected - summary.lost
    made["bars"] = summary.bars
    engine.stop()
    return made


# --- both -------------------------------------------------------------------------------------------------------------


def environment(name: str, python: str, *packages: str) -> Path:
    """Return the interpreter of a virtual environment with `packages`; made on first use."""
    place = CACHE / name
    made = place / "bin" / "python"
    if not (place / "ready").exists():
        subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(made), "-m", "pip", "install", "-q", *packages], check=True)
        (place / "ready").touch()
    return made


def run(python: Path, side: str, count: int, burst: int, readers: int) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [str(python), __file__, "--side", side, "--ticks", str(count), "--burst", str(burst)]
    command += ["--readers", str(readers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=CACHE)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Run both and print a line of JSON for each, then the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="python3.12")
    parser.add_argument("--peer-ticks", type=int, default=2_000)
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--side", choices=("peer", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "peer":
        print(json.dumps(asyncio.run(_peer(options.ticks, options.burst, options.readers))))
        return
    if options.side == "ours":
        from tickloom.scripts.arenas import few_heaps

        sys.setswitchinterval(0.0005)  # both as the command line does
        few_heaps()
        print(json.dumps(_ours(options.ticks, options.burst, options.readers)))
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    peer_python = environment("peer-projectx", options.python, PEER)
    our_python = environment("peer-ours", options.python, "-e", str(Path(__file__).parents[1]))
    peer = run(peer_python, "peer", options.peer_ticks, options.burst, options.readers)
    ours = run(our_python, "ours", options.ticks, options.burst, options.readers)
    few = run(our_python, "ours", options.peer_ticks, options.burst, options.readers)
    for side, made in (("peer", peer), ("ours", ours), ("ours, as few", few)):
        print(json.dumps({"side": side, **{name: round(value, 3) for name, value in made.items()}}))
    ratios = {
        "ticks_per_cpu_second": round(ours["ticks_per_cpu_second"] / peer["ticks_per_cpu_second"]),
        "peak_memory": _ratio(ours, peer, "peak_mb"),
        "peak_memory_as_few": _ratio(few, peer, "peak_mb"),
        "locks_taken": _ratio(ours, peer, "lock_taken_per_tick"),
        "lock_waits": _ratio(ours, peer, "lock_waits_per_1000_ticks"),
        "waited": _ratio(ours, peer, "waited_us_per_tick"),
    }
    print(json.dumps({"ratios": ratios}))


def _ratio(ours: dict[str, Any], peer: dict[str, Any], name: str) -> float | None:
    return round(ours[name] / peer[name], 5) if peer[name] else None


if __name__ == "__main__":
    main()
