"""One incarnation of an actor as the rest of the system sees it: whose it is, whether it was fenced, what it waits for.

A `Life` is shared between the actor's own thread and the supervising thread. Its fields are single references, so
each is read and written atomically; the order of writes that matters is said where it matters.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickloom.supervision.clocks import Clock, Waiter
    from tickloom.supervision.envelopes import Control, Waiting
    from tickloom.supervision.mailbox import Mailbox


class Life:
    """The control block of one incarnation.

    `stop` is "" while it should live, then "drain" or "now". `fenced` is set, once, when it was given up. `break_off`
    ends whatever wait its own thread is in. `wait`, where there is one, is how it waits in its turn: not without
    letting others have theirs (see `crew`). `blocked_on` is the mailbox its thread waits to put into, and the
    entry it left there; a circle of these is what a deadlock is. `in_hand` are the control messages it was handed
    last, and the number of the one it is at.
    """

    __slots__ = (
        "blocked_on",
        "break_off",
        "epoch",
        "fenced",
        "in_hand",
        "mailbox",
        "main_task",
        "path",
        "stop",
        "thread",
        "wait",
    )

    def __init__(self, path: str, epoch: int, mailbox: Mailbox) -> None:
        self.path = path
        self.epoch = epoch
        self.mailbox = mailbox
        self.fenced = False
        self.stop = ""
        self.break_off: Callable[[], object] | None = None
        self.blocked_on: tuple[Mailbox, Waiting] | None = None
        self.thread: threading.Thread | None = None
        self.main_task: asyncio.Task[object] | None = None
        self.wait: Callable[[Waiter, float | None], bool] | None = None
        self.in_hand: tuple[Sequence[Control], int] | None = None

    def interrupt(self) -> None:
        """Break off the wait its thread is in, if any. `stop` or `fenced` must have been set before."""
        break_off = self.break_off
        if break_off is not None:
            break_off()

    def hand_back(self) -> Control | None:
        """Put the control messages it has not come to back into the mailbox; return the one it is at.

        Called as it ends, by whoever comes first: its own thread, or the supervising one that gives it up.
        """
        with self.mailbox.lock:
            in_hand, self.in_hand = self.in_hand, None
        if in_hand is None:
            return None
        controls, at = in_hand
        self.mailbox.give_back(controls[at + 1 :])
        return controls[at]

    def must_leave(self) -> bool:
        """Whether a wait of its thread has no point any more."""
        return self.fenced or self.stop == "now"


class _Current(threading.local):
    life: Life | None = None


_current = _Current()


def current_life() -> Life | None:
    """Return the life whose thread is running, or None in a thread that is no actor's."""
    return _current.life


def wait(clock: Clock, waiter: Waiter, timeout: float | None) -> bool:
    """Wait, as the calling thread has to: True when `waiter` was woken, False when `timeout` seconds ran out."""
    life = _current.life
    return (clock.wait if life is None or life.wait is None else life.wait)(waiter, timeout)


def set_current_life(life: Life | None) -> None:
    """Say whose thread this is. Called once as an actor's thread begins, and around each turn of the dispatcher."""
    _current.life = life
