"""The actor base: pykka's ThreadingActor with a life cycle that cannot go silent.

What runs where: `__init__` and everything else of an actor runs in the actor's own thread, named by its path. The
loop of pykka is replaced as a whole (`_actor_loop`), because its `try` does not reach where things go wrong: see
`docs/guarantees.md`. Pykka's own `actor_ref` works (tell, ask, stop, proxies), over the control lane.

A turn handles all waiting control messages, then one batch of data. A batch stays in the mailbox's hands until
`on_batch` has returned, so a crash does not lose it: the next incarnation gets it again, at most `poison_after` times.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from tickloom.supervision.clocks import Waiter
from tickloom.supervision.context import ActorContext
from tickloom.supervision.envelopes import Answer, Batch, CatchUp, Control
from tickloom.supervision.errors import ActorDead, AskRefused, Declined, Fenced, Interrupted, Unhandled
from tickloom.supervision.events import Quarantine
from tickloom.supervision.exits import NORMAL, SHUTDOWN, Exit, ExitKind
from tickloom.supervision.mailbox import IDLE, WORK, Mailbox
from tickloom.supervision.services import describe

if TYPE_CHECKING:
    from tickloom.supervision.place import Place

UNHANDLED: Any = type("_Unhandled", (), {"__repr__": lambda self: "UNHANDLED"})()
"""What `unhandled` returns; return it from `on_control` and the asker gets `Unhandled`."""


class Next(Enum):
    """What a turn says about the next one."""

    AGAIN = "again"
    IDLE = "idle"
    LEAVE = "leave"


AGAIN, RESTING, LEAVE = Next.AGAIN, Next.IDLE, Next.LEAVE


class _PykkaAnswer:
    """Lets a pykka future stand where a reply is expected."""

    def __init__(self, future: pykka.Future[Any]) -> None:
        self._future = future
        self.settled = False

    def set(self, value: Any) -> bool:
        if self.settled:
            return False
        self.settled = True
        self._future.set(value)
        return True

    def fail(self, error: BaseException) -> bool:
        if self.settled:
            return False
        self.settled = True
        self._future.set_exception((type(error), error, None))
        return True


class _PykkaInbox:
    """The inbox pykka's ActorRef puts into: envelopes go to the control lane."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def put(self, envelope: Envelope[Any], /) -> None:
        future = envelope.reply_to
        answer = cast(Answer, _PykkaAnswer(future)) if future is not None else None
        self._mailbox.put_control(envelope, "", answer)

    def get(self) -> Envelope[Any]:
        raise NotImplementedError("an actor of tickloom takes from its mailbox, not from pykka's inbox")

    def empty(self) -> bool:
        return True


class ActorBase(pykka.ThreadingActor):
    """What `Actor` and `AsyncActor` have in common: all but the hooks, which are plain in one, async in the other."""

    use_daemon_thread: ClassVar[bool] = True

    def __init__(self, context: ActorContext) -> None:
        super().__init__()
        self.context = context
        self._place: Place = context._place
        self._life = context._life
        self.actor_inbox = _PykkaInbox(self._place.mailbox)
        self._actor_ref = pykka.ActorRef(self)
        self._phase = "start"
        self._leaving: Exit | None = None
        self._sender = ""
        self._senders: Sequence[str] = ()
        self._faults = self._place.services.faults
        self._waiter = Waiter()
        self._rouse: Callable[[], object] = self._waiter.wake
        self._linger = self._place.spec.linger
        self._dozing = False
        self._told: tuple[BaseException, str] | None = None
        self._on_up: Callable[[], None] = lambda: None

    # --- to override ---

    def holds(self) -> dict[str, int]:
        """Return what this actor holds of the machine just now, by kind: `tasks`, `sockets`, `files`, `processes`.

        Called from any thread, also after its end, when all of it must be 0. Must only read, and not raise. What it
        does not name it does not hold; its thread is counted by the tree.
        """
        return {}

    # --- to use ---

    @property
    def path(self) -> str:
        """The actor's path."""
        return self._place.path

    @property
    def sender(self) -> str:
        """Who sent the control message in hand ("" when that is unknown)."""
        return self._sender

    @property
    def senders(self) -> Sequence[str]:
        """Who sent each message of the batch in hand."""
        return self._senders

    def unhandled(self, message: Any, sender: str = "") -> Any:
        """Write a message off that this actor has no handler for: a dead letter with its sender, not a crash."""
        self.context.dead_letter(message, sender or self._sender, "unhandled")
        return UNHANDLED

    def exit(self, reason: Exit = NORMAL) -> None:
        """End after this message or batch, of the actor's own accord."""
        self._leaving = reason

    # --- pykka's side ---

    def stop(self) -> None:
        """Pykka's word for `exit`."""
        self.exit()

    def _start_actor_loop(self) -> None:
        raise RuntimeError(f"{type(self).__name__} is started by its supervisor: put it in a ChildSpec")

    # --- shared by both loops ---

    def _leaves(self) -> bool:
        return self._leaving is not None or self._life.must_leave()

    def _is_pykka(self, message: Any) -> bool:
        return type(message) is Envelope

    def _dispatch_pykka(self, envelope: Envelope[Any]) -> Any:
        """Handle what came through pykka's own ref: a stop, a proxy's call, or a plain message."""
        if isinstance(envelope.message, _ActorStop):
            return self.exit()
        return self._handle_receive(envelope.message)

    def _answer(self, control: Control, value: Any) -> None:
        if value is not UNHANDLED:
            if control.answer is not None:
                control.answer.set(value)
            self._worked()
        elif control.answer is not None:
            name = type(control.message).__name__
            control.answer.fail(Unhandled(f"{self.path} has no handler for a {name}"))

    def _trouble(self, control: Control, error: BaseException) -> bool:
        """Deal with what a control handler raised; True when the actor lives on."""
        answer = control.answer
        if isinstance(error, AskRefused) and answer is not None:
            answer.fail(error)
            return True
        if isinstance(error, (Interrupted, Fenced, CancelledError)) and self._life.must_leave():
            if answer is not None:
                answer.fail(ActorDead(f"{self.path} was stopped while it handled the message"))
            else:
                self.context.dead_letter(control.message, control.sender, "interrupted")
            return False
        self._told = (error, describe(error))
        if answer is None:
            self.context.dead_letter(control.message, control.sender, "crashed its handler")
        elif isinstance(error, Exception):
            answer.fail(error)
        else:
            answer.fail(ActorDead(f"{self.path} died of {type(error).__name__} while it handled the message"))
        return False

    def _admit(self, batch: Batch) -> bool:
        """Begin an attempt at the batch; False when it has had too many, and was put in quarantine instead."""
        self._phase = "batch"
        self._senders = batch.senders
        if batch.attempts < self._place.spec.poison_after:
            batch.attempts += 1
            return True
        self._poisoned(batch)
        return False

    def _poisoned(self, batch: Batch) -> None:
        for message, sender in zip(batch.messages, batch.senders, strict=True):
            self.context.dead_letter(message, sender, "poison")
        self._settle()
        self._quarantine(len(batch.messages), f"crashed its actor {batch.attempts} times")

    def _settle(self) -> None:
        if not self._place.mailbox.settle(self._life.epoch):
            raise Fenced(f"{self.path} (epoch {self._life.epoch}) was fenced")

    def _quarantine(self, count: int, cause: str) -> None:
        place = self._place
        place.quarantined += count
        wall_ns = place.services.clock.wall_ns()
        self.context.publish(
            Quarantine(path=self.path, at_ns=wall_ns, epoch=self._life.epoch, count=count, cause=cause)
        )

    def _worked(self) -> None:
        if self._place.wants_success:
            self.context.succeeded()

    def _check(self, point: str, first: int = 0, count: int = 0) -> None:
        if self._faults is not None:
            self._faults.pass_point(self.path, point, first, count)

    # --- the end ---

    def _finish(self, error: BaseException | None) -> Exit:
        """Find out how this life ended, tell the failure, clean up. Never raises."""
        exit_ = self._verdict(error)
        phase, self._phase = self._phase, "exit"
        if exit_.kind is ExitKind.CRASH and error is not None:
            self._tell_failure(phase, error)
        try:
            self._check("on_exit")
            self._clean_up(exit_)
        except BaseException as trouble:  # noqa: BLE001 - the last line of defence: told, and part of the exit
            self._tell_failure("exit", trouble)
            if not exit_.abnormal:
                kind = ExitKind.SHUTDOWN if self._life.stop else ExitKind.CRASH
                exit_ = Exit(kind, trouble, "on_exit failed")
        finally:
            self.actor_stopped.set()
        return exit_

    def _clean_up(self, exit_: Exit) -> None:
        raise NotImplementedError

    def _verdict(self, error: BaseException | None) -> Exit:
        if isinstance(error, (Interrupted, Fenced)):
            return SHUTDOWN
        if isinstance(error, Declined):
            return Exit(ExitKind.NORMAL, error, "declined")
        if error is not None:
            return Exit(ExitKind.CRASH, error)
        if self._life.stop:
            return SHUTDOWN
        return self._leaving or SHUTDOWN

    def _tell_failure(self, phase: str, error: BaseException) -> None:
        text = self._told[1] if self._told is not None and self._told[0] is error else None
        self._place.services.failed(self.path, self._life.epoch, phase, error, text)


class Actor(ActorBase):
    """Base of actors with plain hooks. Made by `ChildSpec.start(context)`; an `__init__` passes the context on.

    Override `on_start`, `on_batch`, `on_control`, `on_exit` and, where it matters, `on_catch_up`. All of them run in
    the actor's thread. An exception from any of them is a crash: it is told once as a `Failure`, and the supervisor
    decides what becomes of the actor.
    """

    # --- to override ---

    def on_start(self) -> None:
        """Set up. Raising is a failed start; raising `Declined` declines."""

    def on_batch(self, messages: list[Any]) -> None:
        """Handle what has gathered on the data lane: 1 to `max_batch` messages, in order. Do not change the list."""
        for message, sender in zip(messages, self.senders, strict=True):
            self.unhandled(message, sender)

    def on_control(self, message: Any) -> Any:
        """Handle a control message. When it was an ask, the value returned is the reply, and an exception is too.

        An exception crashes the actor as well, unless it is an `AskRefused`, which is an answer.
        """
        return self.unhandled(message, self.sender)

    def on_catch_up(self, first_missed: Any) -> None:
        """Learn, before any later message, what was the first to go missing while the breaker was open."""

    def on_exit(self, reason: Exit) -> None:
        """Clean up. Called once for every actor that was constructed, however it ends, always in its own thread."""

    def on_receive(self, message: Any) -> Any:
        """Pykka's word for `on_control`."""
        return self.on_control(message)

    # --- the loop ---

    def _actor_loop(self) -> None:
        """Live: set up, take turns until it is time to leave. Returns only in order; every trouble is an exception."""
        wait, waiter = self._place.services.clock.wait, self._waiter
        self._begin()
        while (following := self._turn()) is not LEAVE:
            if following is RESTING:
                wait(waiter, self._patience())
                waiter.reset()

    def _begin(self) -> None:
        self._check("start")
        self.on_start()
        self._on_up()

    def _turn(self) -> Next:
        """Take one turn, without waiting."""
        life = self._life
        if self._leaving is not None or life.fenced or life.stop == "now":
            return LEAVE
        mailbox = self._place.mailbox
        status, controls, batch = mailbox.poll(life.epoch, self._place.max_batch, self._rouse)
        if status is IDLE:
            self._dozing = False
            return self._rest()
        if status is not WORK:
            return LEAVE
        if controls:
            for i, control in enumerate(controls):
                life.in_hand = (controls, i)
                try:
                    self._control(control)
                except BaseException:
                    life.hand_back()
                    raise
                if self._leaves():
                    life.hand_back()
                    return Next.LEAVE
            life.in_hand = None
        if batch is not None:
            self._batch(batch)
        # most often there is nothing more, and a turn to find that out would cost as much as a message
        doze = self._dozing = batch is not None and self._linger > 0
        if not mailbox.rest(life.epoch, self._rouse, doze):
            return AGAIN
        if self._leaving is not None or self._life.must_leave():  # type: ignore[redundant-expr]  # since then
            return self._rest()
        return RESTING

    def _patience(self) -> float | None:
        """How long to wait, now that it rests, before it takes its next turn unasked, in seconds; None: not at all."""
        return self._linger if self._dozing else None

    def _rest(self) -> Next:
        """Rest, now that the mailbox will wake us: unless we were told to leave just before it knew."""
        life = self._life
        if self._leaving is None and not life.fenced and life.stop != "now":
            return RESTING
        return AGAIN if self._place.mailbox.stay_awake() else RESTING

    def _control(self, control: Control) -> None:
        answer, message = control.answer, control.message
        if answer is not None and answer.settled:
            return
        self._sender = control.sender
        try:
            self._phase = "turn"
            self._check("on_control")
            self._phase = "control" if answer is None else "ask"
            self._answer(control, self._dispatch(message))
        except BaseException as error:
            if not self._trouble(control, error):
                raise
        self._phase = "batch"

    def _dispatch(self, message: Any) -> Any:
        if type(message) is CatchUp:
            self._phase = "catch_up"
            self.on_catch_up(message.first_missed)
            return self._place.mailbox.caught_up(self._life.epoch)
        if self._is_pykka(message):
            return self._dispatch_pykka(message)
        return self.on_control(message)

    def _batch(self, batch: Batch) -> None:
        if not self._admit(batch):
            return
        place, clock = self._place, self._place.services.clock
        count, first = len(batch.messages), batch.first
        if self._faults is not None:
            self._check("before_batch", first, count)
        began = clock.monotonic_ns()
        self.on_batch(batch.messages)
        if self._faults is not None:
            self._check("after_batch", first, count)
        self._settle()
        place.done(count, began, clock.monotonic_ns())
        if place.wants_success:
            self._worked()

    def _clean_up(self, exit_: Exit) -> None:
        self.on_exit(exit_)
