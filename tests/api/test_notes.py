"""Rejects are in the log with their reasons, and change nothing there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tickloom
from tickloom.actors.recorder.care import inspect, verify
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import Rejects

MNQ = "CON.F.US.MNQ.Z25"


def test_every_reject_is_noted_once_with_its_reason_and_a_replay_comes_to_the_same(
    make_session: Callable[..., tickloom.Session], tmp_path: Path
) -> None:
    for _ in range(2):  # the second session goes on with the log of the first
        with make_session(validation__max_size=2) as session:
            for bar, _ in zip(session.bars(MNQ, "1s"), range(2), strict=False):
                assert bar.trades
    log = tmp_path / "log"
    assert verify(log).whole
    with LogReader(log) as reader:
        items = [(n.seq, n.last_seq, n.item) for n in reader.items(max_rows=1)]
    assert [seq for seq, _, _ in items] == [1, *(last + 1 for _, last, _ in items[:-1])], "no number is missing"
    noted = [tick for _, _, item in items if isinstance(item, Rejects) for tick in item.ticks]
    assert {item.reason for _, _, item in items if isinstance(item, Rejects)} == {"size_large"}
    assert len(noted) == len(set(noted)) > 10
    replayed = tickloom.replay(log, verify=True)
    assert replayed.summary.rejected == len(noted)
    assert session.summary is not None
    assert replayed.digest == session.summary.digest
    assert (replayed.summary.lost, session.summary.lost) == (0, 0)
    assert inspect(log).records["rejects"] > 0
