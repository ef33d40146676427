"""The health actor: the fold, and its verdicts to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from tickloom.actors.health.fold import HealthFold, HealthState
from tickloom.messages.reports import ActorState, Health
from tickloom.supervision import ActorContext, BreakerChanged, Event, Failure, FoldActor, Restarting

_BREAKER: dict[str, Literal["breaker_open", "breaker_half_open", "breaker_closed"]] = {
    "open": "breaker_open",
    "half-open": "breaker_half_open",
    "closed": "breaker_closed",
}


class HealthActor(FoldActor[HealthState]):
    """Any ask is answered with `Health`. `listener`, if given, is called in this actor's thread at each transition."""

    def __init__(
        self, context: ActorContext, fold: HealthFold, listener: Callable[[Health], None] | None = None
    ) -> None:
        super().__init__(context, fold)
        self._judge = fold
        self._listener = listener

    def emit(self, output: Any) -> None:
        """Tell the listener of a transition."""
        if self._listener is not None:
            self._listener(output)

    def query(self, state: HealthState, message: Any) -> Health:
        """Answer with the state as others see it."""
        return self._judge.view(state)


def actor_state(event: Event) -> ActorState | None:
    """Return what health wants to know of a supervision event; None when it is of no concern."""
    match event:
        case Failure():
            return ActorState(event.path, "failed", f"{type(event.cause).__name__}: {event.cause}")
        case Restarting():
            return ActorState(event.path, "restarted")
        case BreakerChanged():
            return ActorState(event.path, _BREAKER[event.after], event.cause if event.after == "open" else "")
    return None
