"""A writer that is killed with SIGKILL under load, again and again, on one log."""

from __future__ import annotations

import random
import subprocess
import sys

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.writer import LogWriter
from tickloom.messages.records import unroll

WRITER = """
import itertools, sys, time
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Prints

options = LogOptions(batch_rows=200, sync_ns=5_000_000, segment_bytes=60_000)
writer = LogWriter(sys.argv[1], session="s", options=options)
seq, tick, told = (writer.last_seq or 0) + 1, writer.opening.next_tick, writer.synced_seq
for _ in itertools.count():
    stamps = list(range(seq, seq + 10))
    prints = Prints(("A",), [0] * 20, [s for s in stamps for _ in "12"], [s / 4 for s in stamps for _ in "12"],
                    [1] * 20, [0] * 20, [i for i in range(10) for _ in "12"], tick)
    frames = Frames("m", stamps, stamps, [b"%d" % s for s in stamps], prints)
    writer.append([Numbered(seq, frames)], time.monotonic_ns())
    seq, tick = seq + 10, tick + 20
    if writer.synced_seq != told:
        told = writer.synced_seq
        print(told, flush=True)
"""


def test_whatever_was_synced_is_there_after_every_kill_and_the_log_goes_on(tmp_path):
    chance = random.Random(11)
    last = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        synced = 0
        for _ in range(chance.randint(1, 10)):
            synced = int(process.stdout.readline())
        process.kill()
        for line in process.stdout.read().splitlines(keepends=True):
            synced = int(line) if line.endswith("\n") else synced
        process.wait(timeout=20)
        process.stdout.close()
        with LogReader(tmp_path) as reader:
            assert reader.last_seq >= synced >= last
            records = list(unroll(reader.items(raw=True)))
        last = records[-1].seq
        assert [r.seq for r in records] == list(range(1, last + 1))
        assert all(r.payload == b"%d" % r.seq for r in records)
        assert [p.tick for r in records for p in r.prints] == list(range(2 * last))
    LogWriter(tmp_path, session="end").close()
    checked = verify(tmp_path)
    assert (checked.whole, checked.torn, checked.frames) == (True, (), last)
