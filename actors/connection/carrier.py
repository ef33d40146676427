"""One connection of a session, with its number and its task, and how long a session waits for what."""

from __future__ import annotations

import asyncio

import msgspec

from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret


class Timing(msgspec.Struct, frozen=True):
    """How long a session waits for what, in seconds.

    `align` bounds how long two connections run side by side; a contract that is quiet all that time has nothing to
    align. An old connection that is behind the new one by `lag` is not waited for: what it has not brought by then is
    said to be missing while its bars can still be flagged. On the user hub, whose events have no common stamps to
    align, both run for `settle`: an event may be under way to one while the other was not yet, or is no longer,
    subscribed. For `linger` after a handover what both brought is still compared, unless stamps prove sooner that
    nothing can come twice. `housekeeping` is the pace of reports and of closing the gaps of quiet contracts.
    """

    align: float = 10.0
    lag: float = 3.0
    settle: float = 1.0
    drain: float = 5.0
    linger: float = 3.0
    housekeeping: float = 1.0


class Carrier:
    """One connection with its number, the token it was made with, and its task."""

    def __init__(self, hub: str, number: int, connection: HubConnection, token: Secret | None = None) -> None:
        self.number = number
        self.token = token
        self.source = f"{hub}/{number}"
        self.connection = connection
        self.task: asyncio.Task[None] | None = None
        self.ready = False  # its subscriptions are confirmed
        self.parting = ""  # why we hang it up, where that is to be said of it

    @property
    def ended(self) -> bool:
        """Whether its task is over, for whatever reason."""
        return self.task is not None and self.task.done()

    def error(self) -> BaseException | None:
        """Why it ended; None if it was closed by us or has not ended."""
        task = self.task
        return None if task is None or not task.done() or task.cancelled() else task.exception()

    async def shut(self, *, patient: bool = True) -> None:
        """Close the connection and wait until its task is over. Not patient: without a goodbye."""
        await self.connection.close(patient=patient)
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)
