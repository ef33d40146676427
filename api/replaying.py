"""Replay as a batch job: a recorded log to bars, in the thread that calls. See `playback` for one that is driven."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tickloom.actors.recorder.segment import segments_in
from tickloom.comparing import Verified, chains_of, compare
from tickloom.config.settings import Settings
from tickloom.errors import UsageError
from tickloom.messages.intake import Numbered
from tickloom.pacing import hold_speed, paced
from tickloom.passing import BATCH_ROWS, Pass, Replay
from tickloom.supervision.faults import FaultPlan
from tickloom.verifying import Verifier

__all__ = ["Replay", "replay"]


def replay(
    log: str | Path,
    *,
    timeframes: Iterable[str] | None = None,
    speed: float = float("inf"),
    from_ns: int | None = None,
    to_ns: int | None = None,
    out: str | Path | None = None,
    verify: bool = False,
    against: str | Path | None = None,
    settings: Settings | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    faults: FaultPlan | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Replay:
    """Replay a log to bars.

    Args:
        log: its folder, or one segment.
        timeframes: what to build; by default what the recorded session built.
        speed: a factor on the time between receipts, up to 1e9; infinite: as fast as possible.
        from_ns, to_ns: receipt stamps (ns UTC) between which to replay.
        out: folder for Parquet files. Those of the log's own sessions in it are replaced once the replay is done.
        verify: decode the raw frames again and compare with the columns that were recorded; then, if it is a whole log
            that is replayed, compare the bars with those that its sessions closed live. `Replay.verified` says with
            what.
        against: with `verify`, the folder of the files that the sessions wrote; by default where the log says they
            did.
        settings: others than the recorded session's.
        progress: called now and then with the share done, 0 to 1.
        cancelled: asked now and then; True ends the replay in order.
        faults: faults to inject, for tests.
        batch_rows: rows handed on together, about; nothing depends on it but speed.

    Raises: NoLog: there is no log at that place. DamagedLog: it does not read back. The sentence says where;
    nothing was lost by looking. UsageError: something asked for makes no sense, or `out` has files of the log's
    sessions that the replay has only in part. LogDamagedError: with `verify`, the frames say something else
    than the columns, or the bars are not those of the session; the sentence names the first.
    """
    if against is not None and not verify:
        raise UsageError("files are compared with a replay that verifies: ask for that as well")
    hold_speed(speed)
    run = Pass(log, timeframes=timeframes, from_ns=from_ns, to_ns=to_ns, out=out, settings=settings, faults=faults)
    try:
        run.start()
        items: Iterable[Numbered] = run.items(raw=verify, max_rows=batch_rows)
        verifier = Verifier(str(log), run.before) if verify else None
        if verifier is not None:
            items = verifier.check(items)
        run.feed(
            items if speed == float("inf") else paced(items, speed, cancelled), cancelled=cancelled, progress=progress
        )
        summary = run.finish()
        if run.engine.unwritten:
            raise UsageError(run.engine.unwritten[0])
        verified = None
        if verifier is not None:
            folder = Path(against) if against is not None else None
            verified = msgspec.structs.replace(_bars(run, settings, folder), frames=verifier.frames)
        run.publish()  # now that nothing is to be compared with the files that it replaces
    finally:
        run.let_go()
    return Replay(run.engine, summary, run.cancelled, verified)


def _bars(run: Pass, settings: Settings | None, against: Path | None) -> Verified:
    """Compare the bars with the live ones, where there is sense in that."""
    one = run.reader.path.is_file() and len(segments_in(run.reader.path.parent)) > 1
    if run.cancelled or run.from_ns is not None or run.to_ns is not None or one or settings is not None:
        why = "only part of the log was replayed" if settings is None else "it was replayed by other settings"
        return Verified(notes=(f"{why}, so the bars were not compared with those of the session",))
    return compare(run.reader, chains_of(run.engine.states()), run.engine.table, against)
