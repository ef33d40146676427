"""One pass of a log through a tree of actors: the same actors, the same folds, the log's clock instead of ours.

The thread that feeds is the source: it reads the log and puts each item into validation's mailbox, waiting for room, so
the log is read as fast as the bars are built and no faster. Nothing of the pipeline knows whether it runs live.
"""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from tickloom.actors.recorder.lock import in_use
from tickloom.actors.recorder.reader import LogReader
from tickloom.beginning import session_name
from tickloom.comparing import Verified
from tickloom.config.settings import Settings
from tickloom.config.timeframes import parse_timeframes
from tickloom.days import Days
from tickloom.engine import Engine
from tickloom.errors import UsageError
from tickloom.logged import contracts_of, hold_stretch, known_before, session_start, settings_of, starts_of, told_of
from tickloom.messages.control import Gap, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Numbered, received
from tickloom.messages.market import Instrument
from tickloom.preflight import check_folders
from tickloom.replacing import Replacement, earlier_files
from tickloom.summary import Summary
from tickloom.supervision import Event
from tickloom.supervision.faults import FaultPlan
from tickloom.wiring import VALIDATION, Wires

BATCH_ROWS = 65_536
"""Rows handed on together, about, when nobody waits for single ones."""

_numbers = itertools.count(1)


class Replay:
    """What a replay made: the account, and the bars. `verified` says what was compared, if that was asked for."""

    def __init__(self, engine: Engine, summary: Summary, cancelled: bool, verified: Verified | None = None) -> None:
        self._engine = engine
        self.summary = summary
        self.cancelled = cancelled
        self.verified = verified
        self._days = Days(engine.wires.settings)

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

    def recent_events(self) -> list[Event]:
        """Return the last supervision events (1,024 at most), oldest first; the clocks' changes are among them."""
        return self._engine.tree.events()

    def table(self, contract: str, timeframe: str, last: int | None = None) -> pa.Table:
        """Return the bars as an Arrow table, oldest first; columns as in `Session.table`.

        Raises:
            UsageError: the timeframe was not built, the log knows nothing of the contract, or `last` is below zero.
        """
        self._check(contract)
        return self._engine.table(contract, timeframe, last)

    def trading_day(self, contract: str, at: int | dt.datetime) -> dt.date | None:
        """Return the trading day of an instant, by the contract's calendar; see `Session.trading_day`.

        Raises:
            UsageError: the log knows nothing of the contract, or `at` has no time zone, or lies in no calendar's years.
        """
        self._check(contract)
        return self._days.of(contract, at)

    def _check(self, contract: str) -> None:
        if contract not in self.instruments:
            known = ", ".join(self.instruments) or "none"
            raise UsageError(f"contract {contract!r} is not in the log: it has {known}")


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
        self._replacement: Replacement | None = None
        try:
            hold_stretch(self.reader, from_ns, to_ns)
            # a log whose beginning retention removed says in its first segment's header what was in force there
            if from_ns is not None:
                self.before = self.reader.context(from_ns=from_ns)
            else:
                first = self.reader.first_seq
                self.before = self.reader.context(from_seq=first) if first is not None else ()
            in_force = self.reader.context(from_ns=to_ns) if to_ns is not None else self.reader.context()
            self.started = session_start(self.reader, self.before, in_force, from_ns)
            self.settings = settings_of(self.started, settings, timeframes)
            self._frames = parse_timeframes(self.settings.session.timeframes)
            self._fitting: set[str] = set()
            if from_ns is None and to_ns is None:
                self._check_fit((self.started, *told_of(self.reader, in_force)))
            else:
                self._check_fit((*self.before, *in_force))
            self._replacement = self._replacing()
            wires = Wires(
                settings=self.settings,
                session=session_name(self.started.recv_ns),
                out=self._replacement.folder if self._replacement is not None else self.out,
                crew=self.settings.supervision.crews,
            )
            self.engine = Engine(wires, name=f"tickloom-replay-{next(_numbers)}", faults=faults)
        except BaseException:
            if self._replacement is not None:
                self._replacement.let_go()
            self.reader.close()
            raise
        self.prints = self.gaps = 0
        self.cancelled = False
        self.last: Numbered | None = None
        self._began = time.monotonic()

    def _replacing(self) -> Replacement | None:
        """Make the folder for files, if they are wanted; if files of the log's sessions are in it, return what puts the
        replay's in their place.

        Raises:
            UsageError: a session still writes there.
        """
        if self.out is None:
            return None
        self.out.mkdir(parents=True, exist_ok=True)
        starts = starts_of(self.reader, self.reader.context())
        sessions = frozenset(session_name(each.recv_ns) for each in (*starts, self.started))
        if next(earlier_files(self.out, sessions), None) is None:
            return None
        if in_use(self.reader.path):
            raise UsageError(
                f"{self.out} holds files of the session that still writes {self.reader.path}: "
                f"name another folder for --out, or wait for its end"
            )
        return Replacement(self.out, sessions)

    def _check_fit(self, records: Iterable[object]) -> None:
        """Refuse contracts, as records tell of them, whose sessions the timeframes do not fit.

        Raises:
            SettingsError: there is one; what to do is in the sentence.
        """
        fresh = contracts_of(records) - self._fitting
        self.settings.check_timeframes(sorted(fresh), self._frames)
        self._fitting |= fresh

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
            SettingsError: a contract comes up whose sessions a timeframe does not fit.
        """
        validation = self.engine.tree.ref(VALIDATION)
        for count, numbered in enumerate(items):
            if not count:
                headless = numbered.seq == self.reader.first_seq  # then the log itself begins later than was asked for
                for known in known_before(self.before, numbered, None if headless else self.from_ns):
                    validation.put(known, sender="replay")
            if cancelled():
                self.cancelled = True
                break
            item = numbered.item
            if isinstance(item, Frames):
                self.prints += (len(item.prints) if item.prints else 0) + sum(bad.prints for bad in item.malformed)
            elif isinstance(item, Gap):
                self.gaps += 1
            elif isinstance(item, SessionStarted | Subscribed):
                self._check_fit((item,))  # what came and went within one segment is not known before
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

    def publish(self) -> None:
        """Put the files in place of those that the log's sessions wrote, if there are such. `finish` comes first.

        Raises:
            UsageError: the replay has only part of what is in one of them; everything is as it was.
        """
        if self._replacement is not None and not self.engine.unwritten:
            whole = self.from_ns is None and self.to_ns is None and not self.cancelled
            self._replacement.publish(whole=whole)

    def let_go(self) -> None:
        """Stop what still runs, and close the log."""
        self.engine.stop()
        if self._replacement is not None:
            self._replacement.let_go()
        self.reader.close()
