"""The message log: what writing, replaying and seeking cost, and how that compares with pyarrow alone.

    python benchmarks/log.py [write|replay|import|seek] [--ticks 5000000] [--directory DIR] [--gigabytes 10]

Without a name, all but `seek` run. Every figure is the best of three; a line is JSON. `ns_beyond` is the CPU time of
the writing thread a frame beyond compression and checksums; `core_at_100k` is its share of a core at 100,000
frames/s. The peer of writing is pyarrow writing the same batches ready-made, without checksums; the peer of reading
is pyarrow reading the same files and columns through a memory map, without checksums, numbering or items. Files are
on `--directory`: name a memory disk to measure the code, a disk to measure the disk. `seek` makes a log of so many
gigabytes once, and then opens it and finds a minute in its middle.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv, ipc

import tickloom
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.recorder.compaction import compact
from tickloom.actors.recorder.importing.ticks import import_ticks
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.unpacking import columns_needed
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Beat, SessionStarted
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.messages.records import SCHEMA, BatchNote

CONTRACT = "CON.F.US.MNQ.Z25"
START = 1_753_105_500 * NS  # 2025-07-21T13:45:00Z, the minute of `_FRAME`
MS = NS // 1000
_FRAME = (
    b'{"type":1,"target":"GatewayTrade","arguments":["CON.F.US.MNQ.Z25",[{"symbolId":"F.US.MNQ","price":%.2f,'
    b'"timestamp":"2025-07-21T13:45:%010.7f+00:00","type":%d,"volume":%d}]]}\x1e'
)


def feed(count: int, at: int, *, payloads: bool, arrays: bool) -> Frames:
    """Return so many one-print frames of a market that ticks every 10 µs: a random walk, geometric sizes."""
    rng = np.random.default_rng(at)
    ts = START + (at + np.arange(count)) * 10_000 + rng.integers(0, 9_000, count)
    price = 21_000 + np.cumsum(rng.integers(-1, 2, count)) * 0.25
    size, side = rng.geometric(0.4, count), rng.integers(0, 2, count)
    recv = ts + rng.integers(100_000, 400_000, count)
    raw = None
    if payloads:
        rows = zip(price.tolist(), (ts % (60 * NS) / NS).tolist(), side.tolist(), size.tolist(), strict=True)
        raw = [_FRAME % row for row in rows]
    columns = [np.zeros(count, np.int64), ts, price, size, side, np.arange(count)]
    if not arrays:
        columns = [column.tolist() for column in columns]
    prints = Prints((CONTRACT,), *columns, at)
    return Frames("market/1", recv if arrays else recv.tolist(), (recv - START).tolist(), raw, prints)


def best(work: Callable[[], float], times: int = 3) -> float:
    """Return the least of what a few runs took."""
    return min(work() for _ in range(times))


def say(**figures: object) -> None:
    """Print one line."""
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


def write(place: Path, ticks: int) -> None:
    """Measure the writer as a recorder drives it at 100,000 frames/s: what came in 10 ms at a time."""
    for group in (1, 4, 20, 100):
        items = [feed(group, at, payloads=True, arrays=False) for at in range(0, 2000, group)]
        gc.collect()
        gc.freeze()
        result: list[tuple[float, float, int]] = []

        def run(
            group: int = group, items: list[Frames] = items, result: list[tuple[float, float, int]] = result
        ) -> float:
            directory = place / "write"
            shutil.rmtree(directory, ignore_errors=True)
            writer = LogWriter(directory, session="bench")
            encoded = _timed(writer)
            frames = min(ticks, 400_000)
            seq = tick = 0
            used = 0.0
            for now in range(0, frames, 1000):
                batch = []
                for item in items[: 1000 // group]:
                    p = item.prints
                    prints = Prints(p.contracts, p.contract, p.ts_ns, p.price, p.size, p.side, p.frame, tick)
                    batch.append(Numbered(seq + 1, msgspec.structs.replace(item, prints=prints)))
                    seq, tick = seq + group, tick + group
                began = time.thread_time()
                writer.append(batch, now * 10 * MS)
                used += time.thread_time() - began
            began = time.thread_time()
            writer.close(frames * 10 * MS)
            used += time.thread_time() - began
            result.append((used / frames * 1e9, encoded[0] / frames * 1e9, writer.counters.bytes_written // frames))
            return used

        best(run)
        total, encode, size = min(result)
        say(
            bench="write",
            frames_an_item=group,
            ns_a_frame=total,
            ns_beyond=total - encode,
            core_at_100k=(total - encode) / 1e4,
            bytes_a_frame=size,
        )


def _timed(writer: LogWriter) -> list[float]:
    """Add up the thread's time in compression and checksums."""
    total = [0.0]
    encode = writer._encoder.encode

    def timed(batch: pa.RecordBatch, note: BatchNote) -> bytes:
        began = time.thread_time()
        data = encode(batch, note)
        total[0] += time.thread_time() - began
        return data

    writer._encoder.encode = timed  # type: ignore[method-assign]
    return total


def make(directory: Path, ticks: int, *, rows: int, payloads: bool, beats: int = 0) -> Path:
    """Write a log to read: batches of `rows`, and a beat every so many ticks."""
    shutil.rmtree(directory, ignore_errors=True)
    options = LogOptions(batch_rows=rows, segment_ns=0, sync_ns=2**62, threads=True)
    with LogWriter(directory, session="bench", options=options) as writer:
        seq = 1
        step = beats or min(rows, 65_536)
        for at in range(0, ticks, step):
            item = feed(min(step, ticks - at), at, payloads=payloads, arrays=True)
            writer.append([Numbered(seq, item)], 0)
            seq += len(item)
            if beats:
                writer.append([Numbered(seq, Beat(recv_ns=int(item.recv_ns[-1])))], 0)
                seq += 1
    return directory


def replay(place: Path, ticks: int) -> None:
    """Measure reading to items: decoded columns, and raw frames, from large and from live batches."""
    cases = [
        ("compacted", {"rows": 65_536, "payloads": True}, False),
        ("compacted, a beat every 10,000 ticks", {"rows": 65_536, "payloads": True, "beats": 10_000}, False),
        ("batches of 4,096", {"rows": 4096, "payloads": True}, False),
        ("batches of 500", {"rows": 500, "payloads": True}, False),
        ("compacted, raw", {"rows": 65_536, "payloads": True}, True),
    ]
    for name, shape, raw in cases:
        count = min(ticks, 2_000_000)
        log = make(place / "replay", count, **shape)
        ours, peer = (
            [min(times) for times in zip(*(work(log, raw=raw) for _ in range(3)), strict=True)]
            for work in (read, plain)
        )
        say(
            bench="replay",
            log=name,
            million_ticks_per_second=count / ours[0] / 1e6,
            million_ticks_per_cpu_second=count / ours[1] / 1e6,
            pyarrow_per_second=count / peer[0] / 1e6,
            pyarrow_per_cpu_second=count / peer[1] / 1e6,
            ratio_of_cpu=peer[1] / ours[1],
        )
    log = receive(place / "replay", count)
    compact(log)
    cases_again = [("decoded again", again), ("decoded again, compared, and bars of eight timeframes", verified)]
    for name, work_again in cases_again:
        seconds, used = (min(times) for times in zip(*(work_again(log) for _ in range(3)), strict=True))
        say(
            bench="replay",
            log=f"compacted, raw, {name}",
            million_ticks_per_second=count / seconds / 1e6,
            million_ticks_per_cpu_second=count / used / 1e6,
        )
    log = make(place / "replay", count, rows=500, payloads=True)
    before = read(log, raw=False)[1]
    began = time.perf_counter()
    report = compact(log)
    say(
        bench="compact",
        million_ticks_per_second=count / (time.perf_counter() - began) / 1e6,
        size_ratio=report.size_after / report.size_before,
        replay_gain=before / read(log, raw=False)[1],
    )


def receive(directory: Path, ticks: int) -> Path:
    """Write what a session would have written that received frames of one print each, 100 at a time."""
    shutil.rmtree(directory, ignore_errors=True)
    decoder = Decoder()
    timeframes = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d")
    instrument = Instrument(CONTRACT, 1, 4)
    with LogWriter(directory, session="bench", options=LogOptions(segment_ns=0, sync_ns=2**62)) as writer:
        start = SessionStarted(recv_ns=START, version="", settings={}, instruments=(instrument,), timeframes=timeframes)
        writer.append([Numbered(1, start)], 0)
        seq = 2
        for at in range(0, ticks, 10_000):
            made = feed(min(10_000, ticks - at), at, payloads=True, arrays=False)
            assert made.payloads is not None
            for first in range(0, len(made), 100):
                part = slice(first, first + 100)
                columns = (made.payloads[part], made.recv_ns[part], made.mono_ns[part])
                item = decoder.decode("market/1", *columns)
                writer.append([Numbered(seq, item)], 0)
                seq += len(item)
            writer.append([Numbered(seq, Beat(recv_ns=int(made.recv_ns[-1])))], 0)
            seq += 1
    return directory


def read(log: Path, *, raw: bool) -> tuple[float, float]:
    """Read a log to items; return the seconds it took, by the clock and of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    with LogReader(log) as reader:
        for _ in reader.items(raw=raw):
            pass
    return time.perf_counter() - began, time.process_time() - cpu


def again(log: Path) -> tuple[float, float]:
    """Read a log and decode its frames again; return the seconds it took, by the clock and of CPU."""
    decoder = Decoder(0)
    began, cpu = time.perf_counter(), time.process_time()
    with LogReader(log) as reader:
        for numbered in reader.items(raw=True):
            frames = numbered.item
            if isinstance(frames, Frames) and frames.payloads is not None:
                decoder.decode(frames.source, frames.payloads, frames.recv_ns, frames.mono_ns)
    return time.perf_counter() - began, time.process_time() - cpu


def verified(log: Path) -> tuple[float, float]:
    """Replay a log with `--verify`; return the seconds it took, by the clock and of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    tickloom.replay(log, verify=True)
    return time.perf_counter() - began, time.process_time() - cpu


def plain(log: Path, *, raw: bool) -> tuple[float, float]:
    """Read the same columns with pyarrow alone; return the seconds it took, by the clock and of CPU."""
    note = BatchNote("", 0, 1, 1, 1, (0, 0), (0, 0), 0, 0, 0, 0, True)
    fields = sorted(SCHEMA.get_field_index(name) for name in columns_needed([note], raw=raw))
    began, cpu = time.perf_counter(), time.process_time()
    for path in sorted(log.glob("*.arrows")):
        with pa.memory_map(str(path)) as source:
            for batch in ipc.open_stream(source, options=ipc.IpcReadOptions(included_fields=fields)):
                if raw:
                    batch.column("payload").to_pylist()
    return time.perf_counter() - began, time.process_time() - cpu


def importing(place: Path, ticks: int) -> None:
    """Measure the import of a CSV with local times; the peer is pyarrow reading the same file."""
    item = feed(ticks, 0, payloads=False, arrays=True)
    p = item.prints
    table = pa.table(
        {"time": pa.array(p.ts_ns).cast(pa.timestamp("ns")), "price": p.price, "size": p.size, "side": p.side}
    )
    path = place / "ticks.csv"
    csv.write_csv(table, path)

    def ours() -> float:
        shutil.rmtree(place / "imported", ignore_errors=True)
        began = time.perf_counter()
        import_ticks(path, place / "imported", CONTRACT, timezone="America/Chicago", tick_size="0.25")
        return time.perf_counter() - began

    def peer() -> float:
        began = time.perf_counter()
        csv.read_csv(path)
        return time.perf_counter() - began

    seconds, alone = best(ours), best(peer)
    say(
        bench="import",
        ticks=ticks,
        seconds=seconds,
        megabytes=path.stat().st_size / 1e6,
        pyarrow=alone,
        ratio=alone / seconds,
    )


def grow(gigabytes: float) -> Iterator[Frames]:
    """Yield frames with payloads that hardly compress, so that a large log is made quickly."""
    rng = np.random.default_rng(1)
    blob = rng.bytes(4096 * 512)
    payloads = [blob[i * 512 : (i + 1) * 512] for i in range(4096)]
    for at in range(0, int(gigabytes * 2**30 / 540), 4096):
        shape = feed(4096, at, payloads=False, arrays=True)
        yield msgspec.structs.replace(shape, payloads=payloads)


def seek(place: Path, gigabytes: float) -> None:
    """Make a large log unless it is there, then open it and read the first items of a minute in its middle."""
    log = place / f"seek-{gigabytes:g}"
    if not log.exists():
        options = LogOptions(segment_ns=0, sync_ns=2**62)
        with LogWriter(log, session="bench", options=options) as writer:
            seq = 1
            for item in grow(gigabytes):
                writer.append([Numbered(seq, item)], 0)
                seq += len(item)
    with LogReader(log) as reader:
        low, high = reader.time_range or (0, 0)
        size = sum(found.size for found in reader.segments)

    def run() -> float:
        began = time.perf_counter()
        with LogReader(log) as reader:
            reader.context(from_ns=(low + high) // 2)
            next(reader.items(from_ns=(low + high) // 2, to_ns=(low + high) // 2 + 60 * NS))
        return time.perf_counter() - began

    say(bench="seek", gigabytes=size / 2**30, milliseconds=best(run) * 1000)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["write", "replay", "import", "seek"])
    parser.add_argument("--ticks", type=int, default=2_000_000)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    say(machine=platform.machine(), python=platform.python_version(), pyarrow=pa.__version__, cpus=pa.cpu_count())
    sys.setswitchinterval(0.0005)
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        place = Path(scratch)
        if options.what in (None, "write"):
            write(place, options.ticks)
        if options.what in (None, "replay"):
            replay(place, options.ticks)
        if options.what in (None, "import"):
            importing(place, options.ticks)
        if options.what == "seek":
            seek(options.directory or place, options.gigabytes)


if __name__ == "__main__":
    main()
