"""The clock actor: the one place where time enters the pipeline. It beats at a fixed interval; it decides nothing.

Beats carry the wall clock and go through the sequencer, so they are in the log, in order with the frames. A beat
that finds no room is left out: the next one says the same and more.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tickloom.actors.sequencer import Sequencer
from tickloom.messages.control import Beat
from tickloom.supervision import Actor, ActorContext, Ref


class Strike(msgspec.Struct, frozen=True):
    """What the clock tells itself when a beat is due."""


STRIKE: Final = Strike()


class ClockActor(Actor):
    """Sends `Beat` to the sequencer and to `listeners` every `interval` seconds of the tree's clock."""

    def __init__(
        self, context: ActorContext, sequencer: Sequencer, listeners: tuple[Ref, ...], interval: float
    ) -> None:
        super().__init__(context)
        self._sequencer = sequencer
        self._listeners = listeners
        self._interval = interval

    def on_start(self) -> None:
        """Begin to beat."""
        self.context.send_after(self._interval, STRIKE)

    def on_control(self, message: Any) -> Any:
        """Beat, and arm the next one first: a failing beat must not be the last."""
        if not isinstance(message, Strike):
            return self.unhandled(message)
        self.context.send_after(self._interval, STRIKE)
        beat = Beat(recv_ns=self.context.clock.wall_ns())
        self._sequencer.offer(beat)
        for listener in self._listeners:
            listener.offer(beat)
        return None
