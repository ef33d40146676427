"""The checkpoint actor: every so often, and when a segment ends, it writes down what the folds have come to.

It disturbs nobody: states are values that their actors have committed, and it looks at them from its own thread, a few
times until they go together. Before it writes, the recorder must have all of it on the disk: a checkpoint that is ahead
of its log would be worthless after a power failure. What cannot be written is tried again at the next occasion.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tickloom.actors.checkpoint.files import Checkpoint, write
from tickloom.actors.checkpoint.states import Cut, States
from tickloom.actors.recorder.segment import segments_in
from tickloom.actors.recorder.shell import Flush
from tickloom.supervision import NOTHING, Actor, ActorContext, ActorDead, AskTimeout, BreakerOpen, Ref

LOOK_S: Final = 0.05
"""Seconds between two looks while a cut is being found. It takes about two beats of the clock."""

LOOKS: Final = 200
"""Looks after which this occasion is let go: an actor is down, or the wall clock was set back."""

ROLL_S: Final = 1.0
"""How often it is seen whether a segment has ended."""

_log = logging.getLogger("tickloom.checkpoint")


class Tick(msgspec.Struct, frozen=True):
    """What the actor tells itself when it is time to look."""


class Written(msgspec.Struct, frozen=True):
    """What outlives an incarnation, and answers any ask: checkpoints written and missed, the last one's number."""

    written: int = 0
    missed: int = 0
    seq: int = 0


TICK: Final = Tick()


class CheckpointActor(Actor):
    """Writes checkpoints into a log's folder.

    Args:
        directory: the folder.
        states: gives what is committed now.
        recorder: asked to have everything on the disk.
        seal: makes the checkpoint of a cut.
        every_s: seconds between two checkpoints.
        after: the last number of the session before.
    """

    def __init__(
        self,
        context: ActorContext,
        directory: Path,
        states: Callable[[], States],
        recorder: Ref,
        seal: Callable[[States], Checkpoint],
        every_s: float,
        after: int = 0,
    ) -> None:
        super().__init__(context)
        self._directory = directory
        self._states = states
        self._recorder = recorder
        self._seal = seal
        self._every_s = every_s
        self._after = after
        self._waited = 0.0
        self._segment: str | None = None
        self._cut: Cut | None = None
        self._looks = 0

    def on_start(self) -> None:
        """Begin to wait."""
        kept = self.context.recall()
        self._kept: Written = Written() if kept is NOTHING else kept
        self._segment = self._newest_segment()
        self._wait()

    def on_control(self, message: Any) -> Any:
        """Look, when it is time; any ask is answered with `Written`."""
        if not isinstance(message, Tick):
            return self._kept
        if self._cut is None and self._due():
            self._cut, self._looks = Cut(self._after), 0
        if self._cut is None:
            self._wait()
        else:
            self._look(self._cut)
        return None

    def _wait(self) -> None:
        pause = min(ROLL_S, self._every_s)
        self._waited += pause
        self.context.send_after(pause, TICK)

    def _due(self) -> bool:
        segment = self._newest_segment()
        rolled, self._segment = segment != self._segment and self._segment is not None, segment
        return rolled or self._waited >= self._every_s

    def _newest_segment(self) -> str | None:
        segments = segments_in(self._directory)
        return segments[-1].name if segments else None

    def _look(self, cut: Cut) -> None:
        self._looks += 1
        states = cut.look(self._states())
        if states is None and self._looks < LOOKS:
            self.context.send_after(LOOK_S, TICK)
            return
        self._cut, self._waited = None, 0.0
        done = states is not None and self._write(states)
        self._kept = Written(
            self._kept.written + done,
            self._kept.missed + (not done),
            states.validation.seq if states is not None and done else self._kept.seq,
        )
        self.context.commit(self._kept)
        self._wait()

    def _write(self, states: States) -> bool:
        try:
            synced = self._recorder.ask(Flush())
            if synced is None or synced < states.last_seq:
                return False  # the disk refuses the log: health says so
            write(self._directory, self._seal(states))
        except (OSError, ActorDead, AskTimeout, BreakerOpen) as error:
            _log.warning("no checkpoint could be written in %s: %s; the next is tried in time", self._directory, error)
            return False
        return True
