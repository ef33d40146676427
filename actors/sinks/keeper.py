"""The shell of history, which keeps closed bars for reading."""

from __future__ import annotations

from tickloom.actors.shell import RoutedActor
from tickloom.actors.sinks.history import HistoryFold
from tickloom.supervision import ActorContext


class HistoryActor(RoutedActor):
    """Keeps bars for reading. Any ask is answered with the committed state."""

    def __init__(self, context: ActorContext, fold: HistoryFold) -> None:
        super().__init__(context, fold, {}, lambda state, _: state)
