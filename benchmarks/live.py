"""Live throughput and latency: the emulator in its own process, a loopback WebSocket, eight timeframes, recorder on.

    python benchmarks/live.py [--rate 10000] [--seconds 20] [--prints 1] [--processor 1] [--alone]

Latency is from the sender's stamp to the update of a tick's bar in the last of the timeframes, tick by tick: the
emulator stamps a tick with the wall clock as it emits it, on the same machine; here each timeframe notes, as it lets
an update go, the wall clock and the log sequence number that its bars have come to; and after the run the log tells
which tick had which number. A frame's ticks count as updated when the last timeframe has passed its number. The
pipeline carries nothing for it. `receipt` is the same from the receipt of the frame in this process.

Times are this machine's, and the emulator shares its cores; what carries over are the ratios between two runs in the
same minutes, the share of a core, and that nothing was lost. So the bare sketch runs afterwards (`sketch.py`: the least
a program can do for the same), unless `--alone`; `to_sketch` are ours over its. `calm`: of the ticks that came while
memory was not slow for everybody (`witness.py`, in a process of its own).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray
from sketch import spread
from witness import Witness

import tickloom
from tickloom import wiring
from tickloom.actors.bars.shell import TimeframeActor
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.wire import UnitEncoder
from tickloom.config.secrets import Secret
from tickloom.messages.bars import Bars
from tickloom.messages.intake import Frames
from tickloom.messages.market import IntArray
from tickloom.messages.records import BatchNote
from tickloom.scripts.emulator import Emulator

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")

_updates: dict[str, tuple[array[int], array[int]]] = {}
"""By timeframe, in order: the log sequence numbers its bars have come to, and when, by the wall clock (ns). Arrays,
because objects would have the garbage collector look at them in the middle of it."""


class Timed(TimeframeActor):
    """A timeframe that notes how far it has come, and when."""

    def emit(self, output: Any) -> None:
        """Pass the output on, then note it."""
        super().emit(output)
        if isinstance(output, Bars) and output.weight:
            seqs, walls = _updates.setdefault(output.timeframe, (array("q"), array("q")))
            seqs.append(output.seq)
            walls.append(time.time_ns())


def latencies(log: Path, from_ns: int, to_ns: int) -> tuple[IntArray, dict[str, NDArray[np.float64]]]:
    """Return the stamps of the ticks stamped within [from_ns, to_ns), and how long after it and after the receipt their
    bars were updated (ms)."""
    stamps: list[IntArray] = []
    receipts: list[IntArray] = []
    numbers: list[IntArray] = []
    with LogReader(log) as reader:
        for numbered in reader.items():
            item = numbered.item
            if isinstance(item, Frames) and item.prints is not None:
                frame = np.asarray(item.prints.frame)
                stamps.append(np.asarray(item.prints.ts_ns))
                receipts.append(np.asarray(item.recv_ns)[frame])
                numbers.append(numbered.seq + frame)
    stamp, receipt, number = map(np.concatenate, (stamps, receipts, numbers))
    chosen = (stamp >= from_ns) & (stamp < to_ns)
    stamp, receipt, number = stamp[chosen], receipt[chosen], number[chosen]
    updated = np.zeros(len(number), np.int64)
    for notes in _updates.values():
        seqs, walls = (np.array(column, np.int64) for column in notes)
        updated = np.maximum(updated, walls[np.searchsorted(seqs, number)])
    return stamp, {"stamp": (updated - stamp) / 1e6, "receipt": (updated - receipt) / 1e6}


def sketched(options: argparse.Namespace) -> dict[str, Any]:
    """Run the bare sketch under the same load, in a process of its own, and return what it says."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("sketch.py")),
        *(f"--{name}={getattr(options, name)}" for name in ("rate", "seconds", "warmup", "prints")),
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def measure_encoding() -> list[float]:
    """Return a list whose only number becomes the seconds of CPU that compression and checksums of the log take."""
    total = [0.0]
    encode = UnitEncoder.encode

    def timed(self: UnitEncoder, batch: pa.RecordBatch, note: BatchNote) -> bytes:
        began = time.thread_time()
        data = encode(self, batch, note)
        total[0] += time.thread_time() - began
        return data

    UnitEncoder.encode = timed  # type: ignore[method-assign]
    return total


def cpu_of(thread: str) -> float:
    """Return the seconds of CPU that a thread of this process has had, by its name."""
    number = next(found.native_id for found in threading.enumerate() if found.name.endswith(thread))
    return next(found.user_time + found.system_time for found in psutil.Process().threads() if found.id == number)


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--prints", type=int, default=1, help="prints a frame: messages are gathered by the emulator")
    parser.add_argument("--processor", type=int, default=-1, help="what the session keeps to; -1: any")
    parser.add_argument("--alone", action="store_true", help="without the bare sketch after it")
    options = parser.parse_args()
    wiring.TimeframeActor = Timed  # type: ignore[misc]
    encoded = measure_encoding()
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    key = secrets.token_urlsafe(16)
    shape = ["--steady", "--batch-max", str(options.prints), "--coalesce-ms", "0" if options.prints == 1 else "1"]
    with (
        tempfile.TemporaryDirectory() as place,
        Witness() as witness,
        Emulator(CONTRACTS, rate=options.rate, user="bench", key=key, options=shape) as gateway,
    ):
        session = tickloom.Session(
            {
                "gateway.api_url": gateway.api_url,
                "gateway.market_hub_url": gateway.market_hub_url,
                "gateway.user_hub_url": gateway.user_hub_url,
                "session.contracts": CONTRACTS,
                "recorder.dir": str(Path(place) / "log"),
                **({} if options.processor < 0 else {"supervision.processor": options.processor}),
            },
            credentials=tickloom.Credentials("bench", Secret(key), "benchmark"),
        )
        session.start()
        time.sleep(options.warmup)
        before = resource.getrusage(resource.RUSAGE_SELF)
        recorder, encoding = cpu_of("/recorder"), encoded[0]
        cpu, began, ticks, from_ns = time.process_time(), time.monotonic(), session.statistics().ticks, time.time_ns()
        time.sleep(options.seconds)
        cpu, seconds, to_ns = time.process_time() - cpu, time.monotonic() - began, time.time_ns()
        recorder, encoding = cpu_of("/recorder") - recorder, encoded[0] - encoding
        after = resource.getrusage(resource.RUSAGE_SELF)
        ticks = session.statistics().ticks - ticks
        view = session.tree()
        summary = session.stop()
        switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw
        stamp, measured = latencies(Path(place) / "log", from_ns, to_ns)
        depths = {v.path: v.high_water for v in view.walk() if v.kind != "supervisor" and v.high_water > 8}
    calm = witness.calm(stamp)
    figures: dict[str, Any] = {
        "rate_asked": options.rate,
        "prints": options.prints,
        "processor": options.processor,
        "ticks_per_second": round(ticks / seconds),
        "lost": summary.lost,
        "gaps": summary.gaps,
        **{f"{name}_p50_p99_p999_max_ms": spread(late) for name, late in measured.items()},
        "calm_p50_p99_p999_max_ms": spread(measured["stamp"][calm]),
        "calm_share": round(float(calm.mean()), 3),
        "cores": round(cpu / seconds, 2),
        "recorder_core": round(recorder / seconds, 3),
        "recorder_core_beyond_compression": round((recorder - encoding) / seconds, 3),
        "ticks_per_cpu_second": round(ticks / cpu),
        "switches_per_second": round(switches / seconds),
        "high_water": depths,
    }
    if not options.alone:
        peer = figures["sketch"] = sketched(options)
        ours, theirs = figures["calm_p50_p99_p999_max_ms"], peer["calm_p50_p99_p999_max_ms"]
        figures["to_sketch_calm_p50_p99"] = [
            round(mine / its, 2) for mine, its in zip(ours[:2], theirs[:2], strict=True)
        ]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
