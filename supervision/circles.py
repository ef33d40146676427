"""Where a deadlock would begin: actors that wait for room in each other's mailboxes, in a circle.

An actor's thread is in at most one wait, so from any mailbox there is one way on: to the actor that owns it, and to the
mailbox that one waits to put into. A wait that would lead back to whoever begins it is never begun, so no circle ever
closes, of whatever length.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickloom.supervision.envelopes import Waiting
    from tickloom.supervision.life import Life
    from tickloom.supervision.mailbox import Mailbox

_lock = threading.Lock()
"""Guards every `Life.blocked_on`. Taken only by producers about to wait."""


def may_wait(life: Life, mailbox: Mailbox, waiting: Waiting) -> bool:
    """Note that `life` waits to put into `mailbox`, and return True; False when the wait would close a circle."""
    with _lock:
        at: Mailbox | None = mailbox
        while at is not None and at is not life.mailbox:
            owner = at.owner_life
            blocked = owner.blocked_on if owner is not None else None
            at = blocked[0] if blocked is not None and blocked[1].outcome is None else None
        if at is None:
            life.blocked_on = (mailbox, waiting)
        return at is None
