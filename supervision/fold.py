"""Actors around a pure fold: the state they commit is what the fold returned, whole, or nothing.

Theory of operation. A batch is folded, then state and outputs are committed in one step that also settles the batch;
then the outputs are emitted one by one, and the place remembers how many are out. A crash before the commit leaves
everything as it was, and the next incarnation gets the batch again. A crash after it leaves outputs waiting, and
the next incarnation begins with the first that is not out. So nothing is lost and nothing is done twice, up to the
one output whose `emit` was under way.

A fold that fails does not crash the actor: it would fail again. The batch is split (`Fold.split`) until the guilty
piece stands alone; that is quarantined, and the rest is handled as if it had never been there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from tickloom.supervision.actor import UNHANDLED, Actor
from tickloom.supervision.context import NOTHING, ActorContext
from tickloom.supervision.envelopes import Batch, Control
from tickloom.supervision.errors import AskRefused, Fenced

S = TypeVar("S")

TOLD = 8
"""Failures of one batch that are told one by one; the quarantine event has the full count."""


class Fold(Protocol[S]):
    """A pure function over batches. Knows no clock, thread, socket or file."""

    def initial(self) -> S:
        """Return the state before any message."""
        ...

    def step(self, state: S, messages: Sequence[Any]) -> tuple[S, Sequence[Any]]:
        """Return the state after `messages`, and what they give rise to. Must not change `state` or `messages`."""
        ...

    def split(self, messages: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]] | None:
        """Return the messages in two parts, in order, or None when they cannot be told apart any further."""
        ...


def halve(messages: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """Split a list of messages in the middle: the `split` of folds whose messages are each indivisible."""
    middle = len(messages) // 2
    return (messages[:middle], messages[middle:]) if middle else None


class FoldActor(Actor, Generic[S]):
    """Runs a fold. Override `emit`, and `query` and `quarantined` where there is something to say."""

    def __init__(self, context: ActorContext, fold: Fold[S]) -> None:
        super().__init__(context)
        self.fold = fold

    # --- to override ---

    def emit(self, output: Any) -> None:
        """Pass one output on. Called after the commit; a crash in here resumes with this same output."""

    def on_done(self) -> None:
        """Do what a batch gives occasion to, now that it is committed and its outputs are out. By default nothing."""

    def query(self, state: S, message: Any) -> Any:
        """Answer a control message from the committed state, without changing it.

        What it raises is the answer to an ask, and told as a failure, but crashes nothing: a query cannot have done
        any damage.
        """
        return self.unhandled(message, self.sender)

    def quarantined(self, messages: Sequence[Any], error: Exception) -> Sequence[Any]:
        """Return what to emit in place of messages that cannot be folded. Must be pure: it may be asked twice.

        The messages become dead letters ("quarantined") in any case, once the rest of their batch is committed.
        """
        return ()

    @property
    def state(self) -> S:
        """The state committed last; the fold's initial state before that."""
        state = self._place.memory.state
        return self.fold.initial() if state is NOTHING else state

    # --- the turn ---

    def on_control(self, message: Any) -> Any:
        """Answer from the committed state."""
        return self.query(self.state, message)

    def on_batch(self, messages: list[Any]) -> None:
        """Not used: the fold is what handles batches."""
        raise NotImplementedError

    def _begin(self) -> None:
        super()._begin()
        self._emit_rest()

    def _batch(self, batch: Batch) -> None:
        place = self._place
        if not self._admit(batch):
            return
        monotonic_ns = place.services.clock.monotonic_ns
        messages = batch.messages
        count, first = len(messages), batch.first
        began = monotonic_ns()
        self._phase = "fold"
        faults = self._faults is not None
        if faults:
            self._check("before_fold", first, count)
        memory = place.memory
        before = self.fold.initial() if memory.state is NOTHING else memory.state
        guilty: list[tuple[Sequence[Any], Exception]] = []
        try:
            state, outputs = self.fold.step(before, messages)
        except Exception as error:  # noqa: BLE001 - any failure of a fold is the batch's; the guilty rows are found
            state, outputs, guilty = self._bisect(before, messages, error)
        if faults:
            self._check("after_fold", first, count)
        self._phase = "commit"
        if faults:
            self._check("before_commit", first, count)
        place.commit(self._life.epoch, state, outputs)
        aside = self._put_aside(guilty) if guilty else 0
        if faults:
            self._check("after_commit", first, count)
        place.done(count - aside, began, monotonic_ns())
        if outputs:
            self._emit_rest()
        self.on_done()
        if place.wants_success:
            self._worked()

    def _put_aside(self, guilty: Sequence[tuple[Sequence[Any], Exception]]) -> int:
        """Tell of the pieces that could not be folded, after the rest was committed; returns how many messages."""
        count = 0
        for number, (piece, error) in enumerate(guilty):
            if number < TOLD:
                self._place.services.failed(self.path, self._life.epoch, "fold", error)
            for message in piece:
                self.context.dead_letter(message, "", "quarantined")
            count += len(piece)
        self._quarantine(count, f"{type(guilty[0][1]).__name__}: {guilty[0][1]}")
        return count

    def _emit_rest(self) -> None:
        """Emit what is committed and not yet out, one by one; stop early when told to stop now."""
        place, life = self._place, self._life
        memory = place.memory
        outputs = memory.outputs
        if not outputs:
            return
        self._phase = "emit"
        for index in range(memory.emitted, len(outputs)):
            if life.must_leave():
                break
            if self._faults is not None:
                self._faults.pass_point(self.path, "on_emit", place.emitted, 1)
            self.emit(outputs[index])
            if life.fenced:
                break
            memory.emitted = index + 1
            place.emitted += 1
        else:
            memory.outputs = ()  # and the number stays: who reads both must not begin anew
            return
        if life.fenced:
            raise Fenced(f"{self.path} (epoch {life.epoch}) was fenced: it emits no more")

    def _bisect(
        self, state: S, messages: Sequence[Any], error: Exception
    ) -> tuple[S, Sequence[Any], list[tuple[Sequence[Any], Exception]]]:
        """Fold what can be folded; returns the state, all outputs, and the pieces that cannot be, with their errors."""
        outputs: list[Any] = []
        guilty: list[tuple[Sequence[Any], Exception]] = []
        todo: list[tuple[Sequence[Any], Exception | None]] = [(messages, error)]
        while todo:
            piece, failure = todo.pop()
            if failure is None:
                try:
                    state, more = self.fold.step(state, piece)
                    outputs.extend(more)
                    continue
                except Exception as trouble:  # noqa: BLE001 - as above
                    failure = trouble
            halves = self.fold.split(piece)
            if halves is not None and len(halves[0]) and len(halves[1]):
                todo += [(halves[1], None), (halves[0], None)]
                continue
            guilty.append((piece, failure))
            outputs.extend(self.quarantined(piece, failure))
        return state, outputs, guilty

    def _poisoned(self, batch: Batch) -> None:
        error = RuntimeError(f"crashed {self.path} {batch.attempts} times outside its fold")
        self._place.commit(self._life.epoch, self.state, self.quarantined(batch.messages, error))
        for message, sender in zip(batch.messages, batch.senders, strict=True):
            self.context.dead_letter(message, sender, "poison")
        self._quarantine(len(batch.messages), str(error))
        self._emit_rest()

    def _trouble(self, control: Control, error: BaseException) -> bool:
        if isinstance(error, Exception) and not isinstance(error, AskRefused) and self._phase in ("ask", "control"):
            self._place.services.failed(self.path, self._life.epoch, "query", error)
            if control.answer is not None:
                control.answer.fail(error)
            return True
        return super()._trouble(control, error)


__all__ = ["NOTHING", "UNHANDLED", "Fold", "FoldActor", "halve"]
