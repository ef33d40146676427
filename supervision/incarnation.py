"""One life from its thread's first line to its last: construct, run, clean up, and say exactly once that it is over.

This is the wrapper that pykka lacks. Whatever happens inside (SystemExit and KeyboardInterrupt included) ends this
actor and no other, and is reported to the supervising thread by the one `ended` call in the `finally`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pykka

from tickloom.supervision.actor import ActorBase
from tickloom.supervision.context import ActorContext
from tickloom.supervision.errors import Declined, StartError
from tickloom.supervision.exits import Exit, ExitKind
from tickloom.supervision.life import Life, set_current_life
from tickloom.supervision.place import Place

if TYPE_CHECKING:
    from tickloom.supervision.warden import Warden


class Incarnation:
    """One life at a place. `run` is the body of its thread; the dispatcher of the testing kit calls the parts."""

    def __init__(self, place: Place, life: Life, warden: Warden) -> None:
        self.place = place
        self.life = life
        self._warden = warden
        self.actor: ActorBase | None = None
        self.up = False
        self._over = False

    def run(self) -> None:
        """Live, in the calling thread."""
        set_current_life(self.life)
        error: BaseException | None = None
        try:
            self.construct()._actor_loop()
        except BaseException as trouble:  # noqa: BLE001 - ends here, whatever it is: reported as this actor's exit
            error = trouble
        finally:
            self.conclude(error)
            set_current_life(None)

    def construct(self) -> ActorBase:
        """Make the actor.

        Raises:
            Declined: its start function returned None.
            StartError: its start function returned something else that is not an actor.
        """
        start = self.place.spec.start
        assert callable(start)
        actor = start(ActorContext(self.place, self.life))
        if actor is None:
            raise Declined(f"{self.place.path} declined to start")
        if not isinstance(actor, ActorBase):
            raise StartError(f"child {self.place.path}: start must return an Actor or None, not {actor!r}")
        self.actor = actor
        self.place.kind = type(actor).__name__
        self.place.holder = actor.holds  # not before: there was only half an actor to ask
        actor._on_up = self._is_up
        return actor

    def conclude(self, error: BaseException | None) -> None:
        """Clean up and report the end. Only the first call does anything."""
        if self._over:
            return
        self._over = True
        exit_ = Exit(ExitKind.CRASH, error)
        try:
            if self.actor is not None:
                exit_ = self.actor._finish(error)
                with contextlib.suppress(Exception):
                    pykka.ActorRegistry.unregister(self.actor.actor_ref)
            elif isinstance(error, Declined):
                exit_ = Exit(ExitKind.NORMAL, error, "declined")
            elif error is not None:
                self.place.services.failed(self.place.path, self.life.epoch, "start", error)
        finally:
            declined = not self.up and isinstance(error, Declined)
            self.actor = None
            self._warden.ended(self.place.path, self.life, exit_, up=self.up, declined=declined)

    def _is_up(self) -> None:
        self.up = True
        self._warden.up(self.place.path, self.life.epoch)
