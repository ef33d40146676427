"""Notes in the log: which prints were refused and why, and which an actor failed on.

Both follow from the log itself, and a replay comes to them by itself; they are noted for whoever reads the log without
our rules. So a note decides nothing: folds pass over it, it goes to the recorder alone, and it comes a moment after the
rows it speaks of. What was not noted when a process died is not noted later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tickloom.actors.sequencer import Sequencer
from tickloom.messages.control import Quarantined, Rejects
from tickloom.messages.market import Reject
from tickloom.messages.reports import Withheld
from tickloom.supervision import Actor, ActorContext

MOST_TICKS: Final = 4096
"""Arrival numbers in one note, at most."""

PATIENCE_S: Final = 5.0
"""Longest a note waits for room in the recorder's mailbox; then it is let go, and counted."""


def notes_of(messages: Iterable[object], recv_ns: int) -> list[Rejects | Quarantined]:
    """Return what is to be noted of rejects and withheld prints: a note for each reason and contract. Pure."""
    rows: dict[tuple[str, str], list[Reject]] = {}
    notes: list[Rejects | Quarantined] = []
    for message in messages:
        if isinstance(message, Reject) and not message.passed:
            rows.setdefault((message.reason, message.contract), []).append(message)
        elif isinstance(message, Withheld):
            reason = f"{message.error} ({message.prints} prints)"
            notes.append(Quarantined(recv_ns=recv_ns, actor=message.path, reason=reason, contract="", ticks=()))
    for (reason, contract), own in rows.items():
        for start in range(0, len(own), MOST_TICKS):
            ticks = tuple(row.tick for row in own[start : start + MOST_TICKS])
            detail = own[start].detail
            notes.append(Rejects(recv_ns=recv_ns, reason=reason, contract=contract, ticks=ticks, detail=detail))
    return notes


class NotesActor(Actor):
    """Notes each batch of `Reject` and `Withheld` in the log, by way of the sequencer."""

    def __init__(self, context: ActorContext, sequencer: Sequencer) -> None:
        super().__init__(context)
        self._sequencer = sequencer
        self._unnoted = 0

    def on_batch(self, messages: list[Any]) -> None:
        """Note a batch."""
        for note in notes_of(messages, self.context.clock.wall_ns()):
            if not self._sequencer.note(note, PATIENCE_S):
                self._unnoted += 1

    def on_control(self, message: Any) -> int:
        """Return how many notes found no room."""
        return self._unnoted
