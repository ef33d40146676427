"""The recorder actor: the log writer's thread. It writes what the sequencer numbered, and never holds up the feed.

The writer belongs to the place, not to the incarnation: what it holds in memory survives a crash of the actor, and
since it passes over what it has taken already, a batch that comes again is written once. A disk that refuses is
told to health and tried again; nothing crashes for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tickloom.actors.recorder.errors import LogWriteError
from tickloom.actors.recorder.writer import LogWriter, WriterCounters
from tickloom.messages.intake import Numbered
from tickloom.messages.market import NS
from tickloom.messages.reports import RecorderState
from tickloom.supervision import NOTHING, Actor, ActorContext, Exit, ExitKind, Ref


class Poll(msgspec.Struct, frozen=True):
    """What the recorder tells itself when something is due."""


class Flush(msgspec.Struct, frozen=True):
    """Ask that everything be on the disk; the reply is the last sequence number that is."""


POLL: Final = Poll()


class RecorderActor(Actor):
    """Writes `Numbered` items to the log that `open_log` opens, and tells `health` whether it can.

    Control: `Flush`, and `WriterCounters` (the class) for the totals.
    """

    def __init__(self, context: ActorContext, open_log: Callable[[], LogWriter], health: Ref) -> None:
        super().__init__(context)
        self._open_log = open_log
        self._health = health
        self._armed = False
        self._reported: RecorderState | None = None

    def on_start(self) -> None:
        """Take over the writer of the incarnation before, or open the log."""
        kept = self.context.recall()
        self._writer: LogWriter = self._open_log() if kept is NOTHING else kept
        self.context.commit(self._writer)
        self._arm()

    def on_batch(self, messages: list[Any]) -> None:
        """Hand a batch to the writer."""
        items = [message for message in messages if isinstance(message, Numbered)]
        if items:
            self._attempt(lambda now: self._writer.append(items, now))

    def on_control(self, message: Any) -> Any:
        """Let time pass, flush, or tell the totals."""
        match message:
            case Poll():
                self._armed = False
                self._attempt(self._writer.poll)
                return None
            case Flush():
                self._attempt(self._writer.flush)
                return self._writer.synced_seq
        if message is WriterCounters:
            return msgspec.structs.replace(self._writer.counters)
        return self.unhandled(message)

    def holds(self) -> dict[str, int]:
        """The files its writer has open. After a crash they are the next incarnation's."""
        kept = self.context.recall()
        return {"files": 0 if kept is NOTHING else kept.open_files}

    def on_exit(self, reason: Exit) -> None:
        """Close the log at an ordinary end; after a crash it stays open for the next incarnation."""
        if reason.kind is not ExitKind.CRASH:
            self._attempt(self._writer.close)

    def _attempt(self, work: Callable[[int], None]) -> None:
        try:
            work(self.context.clock.monotonic_ns())
        except LogWriteError as error:
            self._tell(RecorderState(False, str(error)))
        else:
            if self._reported is not None and not self._reported.writing and not self._writer.failing:
                self._tell(RecorderState(True))
        self._arm()

    def _tell(self, state: RecorderState) -> None:
        if state != self._reported:
            self._reported = state
            self._health.offer(state)

    def _arm(self) -> None:
        due = None if self._armed else self._writer.next_due()
        if due is not None:
            self._armed = True
            self.context.send_after(max(due - self.context.clock.monotonic_ns(), 0) / NS, POLL)
