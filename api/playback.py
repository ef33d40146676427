"""A log as a feed that is driven: played at a pace, paused, stepped, subscribed to. It has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from tickloom.actors.recorder.errors import LogError
from tickloom.actors.validation.fold import ValidationState
from tickloom.config.settings import Settings
from tickloom.engine import STREAM_CAPACITY
from tickloom.errors import TickloomError, UsageError
from tickloom.gate import Gate
from tickloom.messages.intake import Numbered, received
from tickloom.messages.reports import Statistics
from tickloom.pacing import hold_speed, paced
from tickloom.passing import Pass, Replay
from tickloom.streams import BarStream
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import FINEST, HISTORY, LEDGER, PUBLISHER, VALIDATION, timeframe_path

STEP_S = 60.0
"""Longest a step is waited for: an actor in it may be in backoff."""


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
    speed: a factor on the time between receipts, up to 1e9; infinite: as fast as possible. from_ns, to_ns: receipt
    stamps (ns UTC) between which to play. out: folder for Parquet files. settings: others than the recorded session's.
    paused: begin so, for who wants to subscribe first. faults: faults to inject, for tests.
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
        self._speed = hold_speed(speed)
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
        self,
        contract: str = "",
        timeframe: str = "",
        *,
        partial: bool = False,
        every: float = 0.0,
        capacity: int = STREAM_CAPACITY,
    ) -> BarStream:
        """Return a stream of bars, as `Session.bars` does. It ends with the log.

        Raises:
            UsageError: the timeframe is not built, or it has ended.
        """
        return self._running().engine.stream(contract, timeframe, partial=partial, every=every, capacity=capacity)

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
            if self._error is None:
                made.publish()
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
