"""The connections of one hub: makes and numbers them, says when they come and go, knows which one is in use.

What must live here: what the parts of a session share, which is the connection in use, the one beside it that is to
replace it, the token of the next one, and whether it is over. What must not: when to make one (`keeping`, `renewal`)
and when one replaces another (`replacement`), what is asked of it (`subscriptions`), what it delivers (`delivery`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Literal

from tickloom.actors.connection.carrier import Carrier
from tickloom.actors.connection.delivery import Received, Take
from tickloom.actors.connection.errors import ConnectionLost
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.intake import Intake
from tickloom.messages.reports import LinkState


class Carriers:
    """Makes and ends the connections of one hub.

    Args:
        hub: which one.
        connect: makes a connection (not yet open) that authenticates with the token given.
        subscriptions: what each connection is asked for.
        take: takes what a connection received. What it raises ends the connection with that error.
        emit: takes `Connected` and `Disconnected`.
        on_link: told of every change of the link, and of the round trip.
        wall_ns, monotonic: time, as parameters.

    Attributes:
        token: what the next connection authenticates with; the refused one while a new one is asked for.
        current: the connection in use, until it is known that it ended.
        successor: the one that is to replace it.
        closing: whether it is over: no connection is to be made any more.
        changed: set whenever one of these has changed, or a connection ended.
    """

    def __init__(
        self,
        hub: Literal["market", "user"],
        connect: Callable[[Secret | None], HubConnection],
        subscriptions: Subscriptions,
        take: Take,
        emit: Callable[[Intake], None],
        on_link: Callable[[LinkState], None],
        *,
        wall_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.hub = hub
        self.token: Secret | None = None
        self.current: Carrier | None = None
        self.successor: Carrier | None = None
        self.closing = False
        self.changed = asyncio.Event()
        self._connect = connect
        self._subscriptions = subscriptions
        self._take = take
        self._emit = emit
        self._on_link = on_link
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._made = 0
        self._progress = asyncio.Event()  # set by every batch, and when a connection ended

    @property
    def up(self) -> Carrier | None:
        """The connection in use; None while there is none."""
        return None if self.current is None or self.current.ended else self.current

    @property
    def alive(self) -> tuple[Carrier, ...]:
        """Every connection there is: one, or two while one replaces the other."""
        return tuple(each for each in (self.current, self.successor) if each is not None and not each.ended)

    # ------------------------------------------------------------------------------------------ coming

    def new(self, token: Secret | None) -> Carrier:
        """Return a connection that is not open yet, with the next number."""
        self._made += 1
        return Carrier(self.hub, self._made, self._connect(token), token)

    async def open(self, carrier: Carrier) -> None:
        """Open a connection and subscribe everything wanted. One that fails is the caller's to shut.

        Raises:
            GatewayError: it could not be made, was refused something, or broke off.
        """
        await carrier.connection.open()
        carrier.task = asyncio.create_task(carrier.connection.run(partial(self._received, carrier)))
        carrier.task.add_done_callback(self._ended)
        await self._subscriptions.establish(carrier)
        if carrier.ended:
            raise carrier.error() or ConnectionLost(f"the connection to the {self.hub} hub ended")
        carrier.ready = True

    def announce(self, carrier: Carrier) -> None:
        """Say that a connection is up."""
        self._emit(Connected(recv_ns=self._wall_ns(), hub=self.hub, connection=carrier.number))
        self.report("up", "")

    def promote(self) -> None:
        """Put the successor into use, in place of the connection that was."""
        self.current, self.successor = self.successor, None

    def _received(self, carrier: Carrier, payloads: list[bytes], walls: list[int], monos: list[int]) -> None:
        self._progress.set()
        self._take(carrier.source, Received(payloads, walls, monos))

    def _ended(self, _: asyncio.Task[None]) -> None:
        self.changed.set()
        self._progress.set()

    # ------------------------------------------------------------------------------------------ going

    async def end(self, carrier: Carrier, cause: str, *, patient: bool = True) -> None:
        """Close a connection and say so. Not patient: it is dead, and would not answer a goodbye."""
        await carrier.shut(patient=patient)
        self.gone(carrier, cause)

    def gone(self, carrier: Carrier, cause: str) -> None:
        """Say that a connection has ended."""
        self._emit(Disconnected(recv_ns=self._wall_ns(), hub=self.hub, connection=carrier.number, cause=cause))

    async def end_all(self, cause: str) -> None:
        """Close what there is."""
        for carrier in (self.successor, self.current):
            if carrier is not None:
                await self.end(carrier, cause)
        self.successor = self.current = None

    def close(self) -> None:
        """Let all who wait for a change know that it is over."""
        self.closing = True
        self.changed.set()

    # ------------------------------------------------------------------------------------------ watching

    async def until(self, condition: Callable[[], bool], patience: float) -> None:
        """Wait for a condition that can change with every batch, for as long as `patience` seconds."""
        end = self._monotonic() + patience
        while not condition() and not self.closing:
            left = end - self._monotonic()
            if left <= 0:
                return
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._progress.wait()

    def report(self, state: Literal["connecting", "up", "down", "lost"], detail: str) -> None:
        """Tell how the link is, with the round trip where there is one."""
        trip = None if self.up is None else self.up.connection.round_trip
        self._on_link(LinkState(self.hub, state, detail, 0 if trip is None else round(trip * 1e9)))
