"""The shell that most rooms share: a fold whose outputs are routed by their type.

The fold says what; the routes say where. An output without a route is a defect and fails loudly: it would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from tickloom.messages.bars import Bars, Reduced
from tickloom.messages.intake import Frames, Numbered, Validated
from tickloom.messages.market import Trades
from tickloom.messages.reports import Withheld
from tickloom.supervision import ActorContext, Fold, FoldActor, Ref

Routes: TypeAlias = Mapping[Any, Sequence[Ref]]

RECORD_BYTES: Final = 512
"""What a message takes beside its rows."""

PRINT_BYTES: Final = 56
"""What a print takes: seven columns of 8 bytes as arrays; as lists it is more, and the batches are small."""

ROW_BYTES: Final = 640
"""What a delta or a bar takes as an object, its integers included (see `tickloom.actors.bars.history`)."""

COLUMN_BYTES: Final = 120
"""What a row of delta columns takes."""


def prints_in(message: object) -> int:
    """Return how many prints a message of the pipeline stands for."""
    if isinstance(message, Numbered):
        item = message.item
        if not isinstance(item, Frames):
            return 0
        return (len(item.prints) if item.prints else 0) + sum(bad.prints for bad in item.malformed)
    if isinstance(message, Validated):
        return sum(len(item) for item in message.items if isinstance(item, Trades))
    if isinstance(message, Reduced):
        return sum(row.trades for row in message.rows) + sum(int(block.trades.sum()) for block in message.columns)
    return 0


def weight_of(message: object) -> int:
    """Return about how many bytes a message of the pipeline takes: for bounds of mailboxes, so cheap and not exact."""
    weigh = _WEIGHTS.get(type(message))
    return RECORD_BYTES if weigh is None else RECORD_BYTES + weigh(message)


def _numbered(message: Numbered) -> int:
    item = message.item
    if not isinstance(item, Frames):
        return 0
    payloads = sum(map(len, item.payloads)) if item.payloads else 0
    return payloads + (len(item.prints) if item.prints else 0) * PRINT_BYTES


def _validated(message: Validated) -> int:
    return message.weight * PRINT_BYTES


def _reduced(message: Reduced) -> int:
    columns = message.columns
    return len(message.rows) * ROW_BYTES + (sum(map(len, columns)) * COLUMN_BYTES if columns else 0)


def _bars(message: Bars) -> int:
    rows = len(message.updated) + len(message.closed) + len(message.revised) + len(message.settled)
    return rows * ROW_BYTES + sum(map(len, message.columns)) * COLUMN_BYTES


_WEIGHTS: Final[Mapping[type, Callable[[Any], int]]] = {
    Numbered: _numbered,
    Validated: _validated,
    Reduced: _reduced,
    Bars: _bars,
}


class Whole:
    """A fold whose batches cannot be told apart: one that fails is put aside whole. For flag `batch_bisection`, off."""

    def __init__(self, fold: Fold[Any]) -> None:
        self._fold = fold

    def initial(self) -> Any:
        """As the fold's."""
        return self._fold.initial()

    def step(self, state: Any, messages: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """As the fold's."""
        return self._fold.step(state, messages)

    def split(self, messages: Sequence[Any]) -> None:
        """Not at all."""


class Reroute(msgspec.Struct, frozen=True):
    """Ask an actor to put its outputs elsewhere from now on.

    `routes` is called in its thread, between batches, once everything committed is out; what it returns is what the
    next incarnation begins with, too. The reply is the sequence number committed last: all up to it went the old way.
    """

    routes: Callable[[], Any]


class Begun:
    """A fold that begins with a state it has come to elsewhere."""

    def __init__(self, fold: Fold[Any], state: Any) -> None:
        self._fold = fold
        self._state = state

    def initial(self) -> Any:
        """The state it has come to."""
        return self._state

    def step(self, state: Any, messages: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """As the fold's."""
        return self._fold.step(state, messages)

    def split(self, messages: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]] | None:
        """As the fold's."""
        return self._fold.split(messages)


class RoutedActor(FoldActor[Any]):
    """Runs `fold`, puts each output where its type is routed to, and answers asks with `answer(state, ask)`.

    A put that is refused because the receiver is gone for good is a dead letter of the receiver's mailbox: counted
    there.
    """

    def __init__(
        self,
        context: ActorContext,
        fold: Fold[Any],
        routes: Routes,
        answer: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(context, fold)
        self._routes = routes
        self._view = answer

    def emit(self, output: Any) -> None:
        """Put the output where its type belongs. Runs in the actor's thread."""
        for ref in self._routes[type(output)]:
            ref.put(output, sender=self.context.path)

    def on_control(self, message: Any) -> Any:
        """Reroute; otherwise answer from the committed state."""
        if isinstance(message, Reroute):
            self.reroute(message.routes())
            return self.state.seq
        return super().on_control(message)

    def reroute(self, routes: Any) -> None:
        """Take up other routes."""
        self._routes = routes

    def quarantined(self, messages: Sequence[Any], error: Exception) -> Sequence[Any]:
        """Tell the ledger, where there is a route to it, how many prints are withheld."""
        prints = sum(map(prints_in, messages))
        if not prints or Withheld not in self._routes:
            return ()
        return (Withheld(self.context.path, prints, f"{type(error).__name__}: {error}"),)

    def query(self, state: Any, message: Any) -> Any:
        """Answer an ask from the committed state. Runs in the actor's thread, between batches."""
        return self.unhandled(message) if self._view is None else self._view(state, message)
