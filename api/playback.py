"""A log played back: the same actors, the same folds, the log's clock. The thread that feeds them is the caller's.

The feeder reads the log and puts each item into validation's mailbox, waiting for room, so the log is read as fast as
the bars are built and no faster. Nothing of the pipeline knows whether it runs live.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.validation.fold import ValidationState
from tickloom.beginning import session_name
from tickloom.comparing import Verified
from tickloom.config.settings import Settings
from tickloom.engine import STREAM_CAPACITY, Engine
from tickloom.errors import TickloomError, UsageError
from tickloom.gate import Gate
from tickloom.logged import session_start, settings_of
from tickloom.messages.control import Gap, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Statistics
from tickloom.pacing import paced
from tickloom.preflight import check_folders
from tickloom.streams import BarStream
from tickloom.summary import Summary
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import FINEST, HISTORY, LEDGER, PUBLISHER, VALIDATION, Wires, timeframe_path

BATCH_ROWS = 65_536
"""Rows handed on together, about, when nobody waits for single ones."""

STEP_S = 60.0
"""Longest a step is waited for: an actor in it may be in backoff."""

_numbers = itertools.count(1)


class Replay:
    """What a replay made: the account, and the bars. `verified` says what was compared, if that was asked for."""

    def __init__(self, engine: Engine, summary: Summary, cancelled: bool, verified: Verified | None = None) -> None:
        self._engine = engine
        self.summary = summary
        self.cancelled = cancelled
        self.verified = verified

    @property
    def digest(self) -> str:
        """SHA-256 over the final bars: equal to that of the session that recorded the log."""
        return self.summary.digest

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts that have bars."""
        return tuple(dict.fromkeys(contract for contract, _ in self._engine.history().windows))

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What the log says of each contract."""
        return self._engine.history().instruments

    def table(self, contract: str, timeframe: str, last: int | None = None) -> pa.Table:
        """Return the bars as an Arrow table, oldest first; columns as in `Session.table`.

        Raises:
            UsageError: the timeframe was not built.
        """
        return self._engine.table(contract, timeframe, last)


class Pass:
    """One pass of a log through an engine: begin, feed, finish; then let go. `Playback` and `replay` drive it.

    Raises: see `replay`.
    """

    def __init__(
        self,
        log: str | Path,
        *,
        timeframes: Iterable[str] | None,
        from_ns: int | None,
        to_ns: int | None,
        out: str | Path | None,
        settings: Settings | None,
        faults: FaultPlan | None,
    ) -> None:
        self.log, self.out = str(log), Path(out) if out is not None else None
        self.from_ns, self.to_ns = from_ns, to_ns
        check_folders({"output": self.out})
        self.reader = LogReader(log)
        try:
            # a log whose beginning retention removed says in its first segment's header what was in force there
            if from_ns is not None:
                self.before = self.reader.context(from_ns=from_ns)
            else:
                first = self.reader.first_seq
                self.before = self.reader.context(from_seq=first) if first is not None else ()
            self.started = session_start(self.reader, self.before, from_ns, to_ns)
            self.settings = settings_of(self.started, settings, timeframes)
            if self.out is not None:
                self.out.mkdir(parents=True, exist_ok=True)
            wires = Wires(settings=self.settings, session=session_name(self.started.recv_ns), out=self.out)
            self.engine = Engine(wires, name=f"tickloom-replay-{next(_numbers)}", faults=faults)
        except BaseException:
            self.reader.close()
            raise
        self.prints = self.gaps = 0
        self.cancelled = False
        self.last: Numbered | None = None
        self._began = time.monotonic()

    def items(self, *, raw: bool = False, max_rows: int = BATCH_ROWS) -> Iterator[Numbered]:
        """Yield the items to feed."""
        return self.reader.items(raw=raw, from_ns=self.from_ns, to_ns=self.to_ns, max_rows=max_rows)

    def start(self) -> None:
        """Start the actors."""
        self.engine.start()
        self._began = time.monotonic()

    def feed(
        self,
        items: Iterable[Numbered],
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Put every item into validation, ahead of them what was in force before; at last the stop, if there is none.

        Raises:
            DamagedLog: the log does not read back from some place on.
        """
        validation = self.engine.tree.ref(VALIDATION)
        for count, numbered in enumerate(items):
            if not count:
                # each of them has had a number of its own below this one, so there is room
                for number, record in enumerate(self.before, start=numbered.seq - len(self.before)):
                    validation.put(Numbered(number, record), sender="replay")
            if cancelled():
                self.cancelled = True
                break
            item = numbered.item
            if isinstance(item, Frames):
                self.prints += (len(item.prints) if item.prints else 0) + sum(bad.prints for bad in item.malformed)
            elif isinstance(item, Gap):
                self.gaps += 1
            validation.put(numbered, sender="replay")
            self.last = numbered
            if progress is not None and count % 16 == 0:
                progress(self.share)
        last = self.last
        if last is not None and not isinstance(last.item, SessionStopped):
            stopped = SessionStopped(recv_ns=received(last, -1), reason="the log ends here")
            validation.put(Numbered(last.last_seq + 1, stopped), sender="replay")
        if progress is not None and not self.cancelled:
            progress(1.0)

    @property
    def share(self) -> float:
        """How much of the log was fed, 0 to 1."""
        first, last = self.reader.first_seq or 0, self.reader.last_seq or 0
        return 0.0 if self.last is None else (self.last.last_seq - first) / max(last - first, 1)

    def finish(self) -> Summary:
        """Let everything that was fed be handled, and make up the account."""
        self.engine.drain()
        return self.engine.summary(
            received=self.prints,
            seconds=time.monotonic() - self._began,
            gaps=self.gaps,
            log=self.log,
            out=str(self.out) if self.out is not None else None,
            latency=False,
        )

    def let_go(self) -> None:
        """Stop what still runs, and close the log."""
        self.engine.stop()
        self.reader.close()


class Playback:
    """A log as a feed: at its own pace, or `speed` times that, with bars to subscribe to as they close.

    It can be paused and stepped. Use it with `with` (any thread) or `async with` (any event loop).

    ```python
    with tickloom.Playback("log/", speed=10, paused=True) as playback:
        stream = playback.bars("CON.F.US.MNQ.Z25", "1m")
        playback.step(100)                      # a hundred frames or records, and the bars stand as they are then
        playback.resume()
        for bar in stream: ...                  # ends with the log
    ```

    Args: log: its folder, or one segment. timeframes: what to build; by default what the recorded session built.
    speed: a factor on the time between receipts; infinite: as fast as possible. from_ns, to_ns: receipt stamps (ns
    UTC) between which to play. out: folder for Parquet files. settings: others than the recorded session's. paused:
    begin so, for who wants to subscribe first. faults: faults to inject, for tests.
    """

    def __init__(
        self,
        log: str | Path,
        *,
        timeframes: Iterable[str] | None = None,
        speed: float = 1.0,
        from_ns: int | None = None,
        to_ns: int | None = None,
        out: str | Path | None = None,
        settings: Settings | None = None,
        paused: bool = False,
        faults: FaultPlan | None = None,
    ) -> None:
        self._make: Callable[[], Pass] = lambda: Pass(
            log, timeframes=timeframes, from_ns=from_ns, to_ns=to_ns, out=out, settings=settings, faults=faults
        )
        self._speed = speed
        self._gate = Gate(shut=paused)
        self._pass: Pass | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._result: Replay | None = None

    # --- life ------------------------------------------------------------

    def start(self) -> None:
        """Open the log and begin.

        Raises: NoLog, DamagedLog, UsageError: see `replay`.
        """
        if self._pass is not None:
            raise UsageError("a playback is started once: make another")
        made = self._make()
        try:
            made.start()
        except BaseException:
            made.let_go()
            raise
        self._pass = made
        self._thread = threading.Thread(
            target=self._run, args=(made,), name=f"{made.engine.tree.name}-feed", daemon=True
        )
        self._thread.start()

    def wait(self, timeout: float | None = None) -> Replay:
        """Return what it came to when the log has ended, or it was stopped.

        Raises:
            TimeoutError: it has not, in so many seconds.
            DamagedLog: the log does not read back from some place on; the bars up to there were made.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the playback of {self._running().log} has not ended in {timeout:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None, "it has ended without an error"
        return self._result

    def stop(self) -> Replay:
        """End it where it stands, in order, and return what it came to."""
        self._gate.end()
        return self.wait()

    def __enter__(self) -> Playback:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.end()
        self._ended.wait()

    async def __aenter__(self) -> Playback:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.end()
        await asyncio.shield(asyncio.to_thread(self._ended.wait))

    # --- driving it ------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether it stands."""
        return self._gate.shut

    def pause(self) -> None:
        """Stand still: frames that are on their way are handled, no further one is let through."""
        self._gate.close()

    def resume(self) -> None:
        """Go on at the speed it was made with."""
        self._gate.open()

    def step(self, frames: int = 1) -> int:
        """Stand still but for so many frames or records, and return how many came when the bars show them.

        Fewer than asked for: the log has ended.
        """
        if frames < 1:
            raise UsageError(f"a step of {frames} frames goes nowhere: ask for one or more")
        running = self._running()
        done = self._gate.step(frames)
        if self._gate.over:
            self._ended.wait()
        else:
            paths = [timeframe_path(each) for each in running.engine.wires.timeframes]
            for path in (VALIDATION, FINEST, *paths, LEDGER, HISTORY, PUBLISHER):
                running.engine.tree.settle(path, STEP_S)
        return done

    @property
    def position_ns(self) -> int | None:
        """Receipt stamp (ns UTC) of what was let through last; None: nothing yet."""
        last = self._running().last
        return None if last is None else received(last, -1)

    @property
    def progress(self) -> float:
        """How much of the log was let through, 0 to 1."""
        return self._running().share

    @property
    def ended(self) -> bool:
        """Whether the log has ended, or it was stopped."""
        return self._ended.is_set()

    # --- reading ------------------------------------------------------------

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts the log has told of so far."""
        state = self._running().engine.committed(VALIDATION)
        return tuple(state.instruments) if isinstance(state, ValidationState) else ()

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that are built, finest first."""
        return tuple(str(each) for each in self._running().engine.wires.timeframes)

    def bars(
        self, contract: str = "", timeframe: str = "", *, partial: bool = False, capacity: int = STREAM_CAPACITY
    ) -> BarStream:
        """Return a stream of bars, as `Session.bars` does. It ends with the log.

        Raises:
            UsageError: the timeframe is not built, or it has ended.
        """
        return self._running().engine.stream(contract, timeframe, partial=partial, capacity=capacity)

    def table(self, contract: str, timeframe: str, last: int | None = None) -> pa.Table:
        """Return closed bars as an Arrow table, as `Session.table` does.

        Raises:
            UsageError: the timeframe is not built.
        """
        return self._running().engine.table(contract, timeframe, last)

    def statistics(self) -> Statistics:
        """Return a snapshot of the counters."""
        return self._running().engine.statistics()

    def _running(self) -> Pass:
        if self._pass is None:
            raise UsageError("the playback has not begun: use it with `with`, or call start()")
        return self._pass

    def _run(self, made: Pass) -> None:
        try:
            try:
                made.feed(self._through(made))
            except (LogError, TickloomError) as error:
                self._error = error  # what came before it is made into bars all the same, and its readers are let go
            self._gate.end()
            summary = made.finish()
            self._result = Replay(made.engine, summary, made.cancelled)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits, in another thread
            self._error = error
        finally:
            self._gate.end()
            made.let_go()
            self._ended.set()

    def _through(self, made: Pass) -> Iterator[Numbered]:
        gate = self._gate
        items = made.items()
        if self._speed != float("inf"):
            items = paced(items, self._speed, gate.hurried, anew=gate.anew, sleep=gate.sleep)
        for numbered in items:
            yield from gate.admit(numbered)
            if gate.over:
                made.cancelled = True
                return


def received(numbered: Numbered, frame: int) -> int:
    """Return when a frame of an item was received (ns UTC); for a record, when it was made."""
    item: Any = numbered.item
    return int(item.recv_ns[frame]) if isinstance(item, Frames) else int(item.recv_ns)
