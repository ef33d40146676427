"""What every place of a tree shares: clock, randomness, events, dead letters, timers, faults. One object a tree."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from tickloom.supervision.bus import EventBus
from tickloom.supervision.clocks import Clock
from tickloom.supervision.deadletters import DeadLetter, DeadLetters
from tickloom.supervision.errors import NoSuchPlace
from tickloom.supervision.events import Failure

if TYPE_CHECKING:
    from tickloom.supervision.faults import FaultPlan
    from tickloom.supervision.place import Place
    from tickloom.supervision.warden import Warden


def canonical(path: str) -> str:
    """Return `path` with one leading slash and none at the end."""
    return "/" + path.strip("/")


class Services:
    """The shared services of one tree."""

    def __init__(self, name: str, clock: Clock, rng: Random, bus: EventBus, faults: FaultPlan | None) -> None:
        self.name = name
        self.clock = clock
        self.rng = rng
        self.bus = bus
        self.faults = faults
        self.accounting = True
        """Whether views say what each actor holds of the machine."""
        self.dead_letters = DeadLetters()
        self.places: dict[str, Place] = {}
        self.warden: Warden  # set by the warden itself, which needs the services first

    def find(self, path: str) -> Place:
        """Return the worker's place at `path`.

        Raises:
            NoSuchPlace: there is none.
        """
        place = self.places.get(canonical(path))
        if place is None:
            raise NoSuchPlace(f"{self.name}: there is no actor at {canonical(path)}")
        return place

    def dead_letter(self, message: Any, sender: str, receiver: str, reason: str) -> None:
        """Write down a message that reaches nobody."""
        self.dead_letters.add(DeadLetter(message, sender, receiver, reason, self.clock.wall_ns()))

    def call_later(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        """Call `call` in the supervising thread after `seconds`; returns what cancels it. `call` must not block."""
        return self.warden.call_later(seconds, call)

    def failed(self, path: str, epoch: int, phase: str, error: BaseException, text: str | None = None) -> Failure:
        """Publish a failure, once. The error is freed of its traceback, whose text is kept."""
        text = text if text is not None else describe(error)
        free(error)
        failure = Failure(
            path=path, at_ns=self.clock.wall_ns(), epoch=epoch, phase=phase, cause=error, traceback_text=text
        )
        place = self.places.get(path)
        if place is not None:
            place.failures += 1
            place.last_failure = failure
        self.bus.publish(failure)
        return failure


def describe(error: BaseException) -> str:
    """Return an error's traceback as text."""
    return "".join(traceback.format_exception(error))


def free(error: BaseException) -> None:
    """Take the tracebacks off an error and those it came from: they would keep whole batches alive."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            todo += [one.__cause__, one.__context__]
