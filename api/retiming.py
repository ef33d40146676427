"""Timeframes that are added to a running session, and removed from it.

What is added has exactly the bars it would have if it had been there from the log's beginning: the same rule as for a
session that goes on with a log and builds other timeframes than the one before. So a replay needs to know only which
timeframes there are at the end (`TimeframesChanged`), and gives the same digest.

How it is filled while the feed goes on. The log is read through the same folds as far as it is on the disk. Then the
actor that feeds timeframes of this kind is asked to feed one more, for now into a mailbox that nobody reads; its answer
is the number up to which it fed the others alone. The log is read on up to that number, the new actor begins with the
state that comes of it, and what the mailbox holds is handed over in the thread of the feeding actor, ahead of what is
next. So nothing is missing between the two and nothing is there twice; nobody waits for the reading.

Without a log there is nothing to read: it begins with the input that comes next, and its first bar of each contract is
flagged `partial`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tickloom.actors.bars.activity import ActivityFold, ActivityState
from tickloom.actors.bars.reduce import ReduceState
from tickloom.actors.checkpoint.states import States
from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.shell import Flush as FlushLog
from tickloom.actors.shell import Reroute, prints_in
from tickloom.actors.sinks.parquet import Flush as FlushFiles
from tickloom.actors.sinks.publisher import End
from tickloom.config.fields import SettingsError
from tickloom.config.timeframes import Timeframe, TimeframeError, parse_timeframes
from tickloom.engine import Engine
from tickloom.errors import Cancelled, UsageError
from tickloom.messages.bars import BarFlag, Bars, Forget, Mark, Reduced
from tickloom.messages.control import TimeframesChanged
from tickloom.messages.intake import Numbered
from tickloom.messages.reports import Withheld
from tickloom.recovery import Folds, batches_of, before_head
from tickloom.supervision import Clock, Mailbox, StartError, SupervisionError
from tickloom.supervision.clocks import Waiter
from tickloom.wiring import (
    BARS,
    FINEST,
    HISTORY,
    LEDGER,
    PARQUET,
    PUBLISHER,
    RECORDER,
    VALIDATION,
    bars_readers,
    building,
    feeding,
    judged,
    timeframe_box,
    timeframe_child,
    timeframe_fold,
    timeframe_path,
)

_log = logging.getLogger("tickloom.session")

MOST = 64
"""Most timeframes a session builds."""

ANSWER_S = 30.0
"""Longest an actor is waited for to do what it was asked."""

SYNC_S = 15.0
"""Longest the recorder is waited for to have on the disk what was fed by then."""

LOOK_S = 0.005
"""How often that is looked at."""


class Retiming:
    """Adds timeframes to a running engine and removes them, one at a time. For any thread that is no actor's.

    Args:
        engine: of a live session.
        clock: the time.
        log: the log's folder; None: there is none.
        after: the last sequence number before the session's own.
    """

    def __init__(self, engine: Engine, clock: Clock, log: Path | None, after: int) -> None:
        self._engine = engine
        self._wires = engine.wires
        self._clock = clock
        self._log = log
        self._after = after
        self._one = threading.Lock()
        self._written: set[str] = set()
        """Removed, and there are files of them."""

    def add(self, name: str, contracts: Iterable[str]) -> str:
        """Add a timeframe; it is there, and filled, when this returns. Returns its canonical name.

        Raises:
            UsageError: there is no such timeframe, it is there already, does not fit, or could not be filled.
        """
        with self._one:
            frame = self._wanted(name, contracts)
            try:
                self._add(frame)
            except (LogError, SupervisionError, StartError, OSError) as error:
                raise UsageError(f"timeframe {frame} was not added: {error}") from error
            _log.info("timeframe %s was added", frame)
            return str(frame)

    def remove(self, name: str) -> None:
        """Remove a timeframe: its open bars are let go of, what is kept of its bars goes, its files stay.

        Raises:
            UsageError: it is not there, or it is the only one.
        """
        with self._one:
            wires = self._wires
            frame = Timeframe.parse(self._engine.known(name))
            left = tuple(each for each in wires.built if each != frame)
            if not left:
                raise UsageError(f"timeframe {frame} is the only one: a session builds at least one")
            self._check_runs()
            try:
                self._take_out(frame, left)
                path = timeframe_path(frame)
                self._engine.tree.drain(path, ANSWER_S)
                self._engine.tree.delete_child(path)
                self._told((LEDGER, HISTORY), Forget(str(frame), path))
                if wires.out is not None:
                    self._written.add(str(frame))
                    self._told((PARQUET,), FlushFiles())
                self._engine.tree.ref(PUBLISHER).ask(End(str(frame)), ANSWER_S)
            except SupervisionError as error:
                raise UsageError(f"timeframe {frame} was not removed in order: {error}") from error
            self._record()
            _log.info("timeframe %s was removed", frame)

    # --- adding ------------------------------------------------------------

    def _wanted(self, name: str, contracts: Iterable[str]) -> Timeframe:
        wires = self._wires
        try:
            (frame,) = parse_timeframes([name])
            if frame in wires.built:
                raise UsageError(f"timeframe {frame} is there already")
            building(wires.settings, (*wires.built, frame)).check_timeframes(contracts, (frame,))
        except (SettingsError, TimeframeError) as error:
            raise UsageError(str(error)) from None
        if len(wires.built) >= MOST:
            raise UsageError(f"timeframe {frame} would be one too many: a session builds {MOST} at most")
        if str(frame) in self._written:
            raise UsageError(
                f"timeframe {frame} was removed before, and its files hold its bars: "
                "add it in the next session, or replay the log"
            )
        self._check_runs()
        return frame

    def _check_runs(self) -> None:
        if not self._engine.running:
            raise UsageError("the session has ended: its timeframes are what they are")

    def _add(self, frame: Timeframe) -> None:
        wires, name = self._wires, str(frame)
        box = Mailbox(timeframe_box(wires, frame), path=timeframe_path(frame))
        filling = None if self._log is None else _Filling(self._engine, frame, self._after)
        try:
            if filling is None:
                begun = self._from_now(frame, box)
            else:
                filling.read(self._log, self._synced(0))
                fed_to = self._hold(frame, box)
                filling.read(self._log, self._synced(fed_to), to=fed_to)
                begun = filling.state
            self._engine.tree.start_child(BARS, timeframe_child(wires, frame, begun))
            if filling is None:
                wires.midway |= {name}
            else:
                filling.account()
            self._reroute(frame, lambda: self._hand_over(frame, box))
        except BaseException:
            self._back_out(frame)
            raise
        self._record()

    def _hold(self, frame: Timeframe, box: Mailbox) -> int:
        """Have the input of a timeframe held in `box` from now on; returns the number up to which it is not."""

        def hold() -> None:
            self._wires.filling = {**self._wires.filling, str(frame): box}

        return self._reroute(frame, hold)

    def _hand_over(self, frame: Timeframe, box: Mailbox) -> None:
        """Put what was held into the actor's mailbox, which is fed from now on. Runs in the feeding actor's thread."""
        wires, ref = self._wires, self._engine.tree.ref(timeframe_path(frame))
        while held := box.take_batch(1024, 0):
            for message in held:
                ref.put(message)
        wires.filling = {name: each for name, each in wires.filling.items() if name != str(frame)}
        wires.built = tuple(sorted((*wires.built, frame)))

    def _back_out(self, frame: Timeframe) -> None:
        """Undo what was done of adding a timeframe."""
        wires, name = self._wires, str(frame)
        try:
            self._take_out(frame, tuple(each for each in wires.built if each != frame))
            tree, path = self._engine.tree, timeframe_path(frame)
            if any(view.path == path for view in tree.snapshot().walk()):
                tree.terminate_child(path)
                tree.delete_child(path)
            self._told((LEDGER, HISTORY), Forget(name, path))
            if wires.out is not None and self._log is not None:
                self._written.add(name)
        except (SupervisionError, UsageError) as error:
            _log.warning("timeframe %s, which was not added, left something behind: %s", frame, error)

    def _take_out(self, frame: Timeframe, left: tuple[Timeframe, ...]) -> None:
        wires = self._wires

        def leave() -> None:
            wires.filling = {name: each for name, each in wires.filling.items() if name != str(frame)}
            wires.built = left
            wires.midway -= {str(frame)}

        self._reroute(frame, leave)

    def _reroute(self, frame: Timeframe, change: Callable[[], None]) -> int:
        """Change who is fed, in the thread of the actor that feeds; returns the last number fed before."""
        wires, tree = self._wires, self._engine.tree

        def routes() -> Any:
            change()
            return (judged if frame.is_activity else feeding)(wires, tree.ref)

        fed_to: int = tree.ref(VALIDATION if frame.is_activity else FINEST).ask(Reroute(routes), ANSWER_S)
        return fed_to

    def _synced(self, seq: int) -> int:
        """Return the last number on the disk, once it is `seq` or later.

        Raises:
            UsageError: it did not get there in time.
        """
        recorder = self._engine.tree.ref(RECORDER)
        deadline = self._clock.monotonic_ns() + round(SYNC_S * 1e9)
        while True:
            synced: int | None = recorder.ask(FlushLog(), ANSWER_S)
            if synced is not None and synced >= seq:
                return synced
            self._check_runs()
            if self._clock.monotonic_ns() >= deadline:
                raise UsageError(
                    f"the log has come to number {synced}, and {seq} is needed: health says what holds the recorder up"
                )
            self._clock.wait(Waiter(), LOOK_S)

    def _from_now(self, frame: Timeframe, box: Mailbox) -> Any:
        """Have the input held, and return the state of a timeframe that knows nothing of what came before."""
        known = ReduceState()

        def hold() -> None:
            nonlocal known
            known = self._engine.committed(FINEST) or known
            self._wires.filling = {**self._wires.filling, str(frame): box}

        seq = self._reroute(frame, hold)
        fold = timeframe_fold(self._wires.settings, frame)
        if isinstance(fold, ActivityFold):
            return ActivityState(seq=seq)
        newest = tuple(known.newest.items())
        marks = tuple(Mark(name, at, at + 1, int(BarFlag.PARTIAL), at) for name, at in newest)
        return fold.step(fold.initial(), [Reduced(seq, watermarks=newest, beat=known.beat, marks=marks)])[0]

    def _told(self, paths: Iterable[str], message: Any) -> None:
        for path in paths:
            self._engine.tree.ref(path).put(message, sender="session")

    def _record(self) -> None:
        """Write down which timeframes there are."""
        wires = self._wires
        assert wires.sequencer is not None
        record = TimeframesChanged(recv_ns=self._clock.wall_ns(), timeframes=tuple(str(each) for each in wires.built))
        if not wires.sequencer.put(record, ANSWER_S):
            _log.error("which timeframes there are is not in the log: nothing took it for %g s", ANSWER_S)


class _Filling:
    """The bars of one timeframe as they come of the log, told to those who keep bars as far as they are this session's.

    `state` is what the timeframe's fold has come to.
    """

    def __init__(self, engine: Engine, frame: Timeframe, after: int) -> None:
        self._engine = engine
        self._frame = frame
        self._after = after
        self._folds = Folds(building(engine.wires.settings, (frame,)))
        self._states = self._folds.initial()
        self._done = 0
        self._carried: Any = None
        self._readers = [engine.tree.ref(path) for path in bars_readers(engine.wires)]

    @property
    def state(self) -> Any:
        """The state of the timeframe's fold."""
        return self._of(self._states)

    def _of(self, states: States) -> Any:
        return {**states.timeframes, **states.activities}[str(self._frame)]

    def account(self) -> None:
        """Say what its bars held when the session began: that is not the session's to answer for."""
        wires, name = self._engine.wires, str(self._frame)
        if wires.carried is None or self._carried is None:
            return
        if self._frame.is_activity:
            activities = {**wires.carried.activities, name: self._carried}
            wires.carried = msgspec.structs.replace(wires.carried, activities=activities)
        else:
            timeframes = {**wires.carried.timeframes, name: self._carried}
            wires.carried = msgspec.structs.replace(wires.carried, timeframes=timeframes)

    def read(self, folder: Path | None, synced: int, to: int | None = None) -> None:
        """Read on, up to number `to`, or as far as it is on the disk.

        Raises:
            DamagedLog: a place does not read back.
            Cancelled: the session is ending.
        """
        assert folder is not None
        to = synced if to is None else to
        with LogReader(folder, keep_index=False) as log:
            if not self._done:
                first = log.first_seq or 1
                if first > 1 and (known := before_head(log, first)):
                    self._states = self._folds.step(self._states, known)
                self._done = first - 1
            for upto, ours in ((min(self._after, to), False), (to, True)):
                if upto > self._done:
                    for batch in batches_of(log.items(from_seq=self._done + 1, to_seq=upto + 1)):
                        self._fold(batch, ours=ours)
                    self._done = upto
                if self._carried is None:
                    self._carried = self.state

    def _fold(self, batch: list[Numbered], *, ours: bool) -> None:
        if not self._engine.running:
            raise Cancelled("the session ended while a timeframe was being filled from its log")
        self._states, said = self._folds.tell(self._states, batch, self._withhold if ours else None)
        for bars in said if ours else ():
            self._tell(bars)

    def _withhold(self, messages: Sequence[Any], error: Exception) -> None:
        """Tell the ledger of prints that the timeframe's fold failed on, as its actor would."""
        prints = sum(map(prints_in, messages))
        path = timeframe_path(self._frame)
        self._engine.tree.ref(LEDGER).put(Withheld(path, prints, f"{type(error).__name__}: {error}"), sender=path)

    def _tell(self, bars: Bars) -> None:
        for ref in self._readers:
            ref.put(bars, sender=timeframe_path(self._frame))


__all__ = ["MOST", "Retiming"]
