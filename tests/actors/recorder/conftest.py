"""Logs to test with: items as a sequencer would number them, and a disk that does as it is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.files import SystemFiles
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import AnyControl, Beat, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Intake, Numbered
from tickloom.messages.market import Depth, DepthLevel, Instrument, Malformed, Prints, Quote
from tickloom.messages.records import ControlRecord, FrameRecord, unroll

MNQ = Instrument("CON.F.US.MNQ.Z25", 1, 4, calendar="cme_equity")
START = 1_700_000_000_000_000_000
MS = 1_000_000

MakeFrames = Callable[..., Frames]
Number = Callable[..., list[Numbered]]
WriteLog = Callable[..., Path]


def frames(
    count: int = 1, at: int = 0, *, prints: int = 1, source: str = "market/1", contract: str = MNQ.contract
) -> Frames:
    """Frames `at`, `at + 1`, … of a feed that sends one a millisecond, each with so many prints."""
    recv = [START + (at + i) * MS for i in range(count)]
    rows = [(i, n) for i in range(count) for n in range(prints)]
    return Frames(
        source=source,
        recv_ns=recv,
        mono_ns=[stamp - START + 7 for stamp in recv],
        payloads=[b'{"frame":%d}' % (at + i) for i in range(count)],
        prints=Prints(
            contracts=(contract,),
            contract=[0] * len(rows),
            ts_ns=[recv[i] - MS // 2 for i, _ in rows],
            price=[21_000 + (at + i) % 40 * 0.25 for i, _ in rows],
            size=[1 + n for _, n in rows],
            side=[(i + n) % 3 for i, n in rows],
            frame=[i for i, _ in rows],
            first_tick=0,
        )
        if prints
        else None,
    )


def number(items: Iterable[Intake], first: int = 1, tick: int = 0) -> list[Numbered]:
    """Number items as the sequencer does: one sequence number a frame or record, one tick number a print."""
    numbered = []
    for item in items:
        if isinstance(item, Frames):
            if item.prints is not None:
                p = item.prints
                item = Frames(
                    item.source, item.recv_ns, item.mono_ns, item.payloads,
                    Prints(p.contracts, p.contract, p.ts_ns, p.price, p.size, p.side, p.frame, tick),
                    item.quotes, item.depth, item.malformed, item.events,
                )  # fmt: skip
                tick += len(p)
            numbered.append(Numbered(first, item))
            first += len(item)
        else:
            numbered.append(Numbered(first, item))
            first += 1
    return numbered


def started(recv_ns: int = START) -> SessionStarted:
    return SessionStarted(
        recv_ns=recv_ns, version="0.1.0", settings={"mode": "test"}, instruments=(MNQ,), timeframes=("1s", "1m")
    )


def everything() -> list[Intake]:
    """One of each thing a log can hold."""
    rich = Frames(
        source="user/1",
        recv_ns=[START + 1, START + 2, START + 3],
        mono_ns=[1, 2, 3],
        payloads=[b"", b"\x00\xff not text", b"{}"],
        quotes=((0, Quote(MNQ.contract, START, bid=21_000.25)), (2, Quote(MNQ.contract, START, last=1.5, volume=9))),
        depth=((1, Depth(MNQ.contract, (DepthLevel(START, 1, 21_000.0, 3, 4), DepthLevel(START, 6, 0.0, 0, 0)))),),
        malformed=(Malformed(1, "schema", "price is missing", 2), Malformed(2, "json", "…", 0)),
        events=((0, "GatewayUserTrade", b'{"id":1}'), (0, "GatewayUserOrder", b"{}")),
    )
    records: list[AnyControl] = [
        Subscribed(recv_ns=START + 4, hub="market", connection=1, contract=MNQ.contract, instrument=MNQ),
        Beat(recv_ns=START + 5),
    ]
    return [
        started(),
        rich,
        *records,
        frames(3),
        frames(2, 3, prints=4),
        frames(2, 5, prints=0),
        frames(1, 7, source="market/2", contract="CON.F.US.ENQ.Z25"),
        SessionStopped(recv_ns=START + 9 * MS),
    ]


def write_log(directory: Path, items: Iterable[Numbered], **options: int) -> Path:
    """Write items as one closed log."""
    with LogWriter(directory, session="test", options=LogOptions(**options)) as writer:
        writer.append(items, 0)
    return directory


class Disk(SystemFiles):
    """A disk with a fault layer: `room` bytes left, and errors by operation. Counts what is asked of it."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.errors: dict[str, int] = {}
        self.calls: list[str] = []

    def _meet(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.errors:
            raise OSError(self.errors[operation], os.strerror(self.errors[operation]))

    def create(self, path: Path) -> int:
        self._meet("create")
        return super().create(path)

    def write(self, fd: int, data: memoryview) -> int:
        self._meet("write")
        if self.room is not None:
            if self.room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.room]
            self.room -= len(data)
        return super().write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        self._meet("truncate")
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._meet("sync")
        super().sync(fd)

    def sync_directory(self, path: Path) -> None:
        self._meet("sync_directory")
        super().sync_directory(path)

    def remove(self, path: Path) -> None:
        self._meet("remove")
        super().remove(path)


def read(directory: Path) -> list[FrameRecord | ControlRecord]:
    """The records of a log that is whole."""
    assert verify(directory).whole
    with LogReader(directory) as reader:
        return list(unroll(reader.items(raw=True)))


def flip(path: Path, at: int) -> None:
    """Turn a bit of a file over."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


class Kit:
    """What the tests of this folder build logs with."""

    MNQ = MNQ
    START = START
    MS = MS
    Disk = Disk
    frames = staticmethod(frames)
    number = staticmethod(number)
    started = staticmethod(started)
    everything = staticmethod(everything)
    write_log = staticmethod(write_log)
    read = staticmethod(read)
    flip = staticmethod(flip)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, list[FrameRecord | ControlRecord]]:
    """A log of several segments with small batches, and its records."""
    items = number([started(), *(frames(10, at, prints=2) for at in range(0, 400, 10)), Beat(recv_ns=START)])
    with LogWriter(tmp_path, session="s", options=LogOptions(batch_rows=40, segment_bytes=12_000)) as writer:
        for item in items:
            writer.append([item], 0)
    assert len(list(tmp_path.glob("*.arrows"))) >= 4
    return tmp_path, list(unroll(items))
