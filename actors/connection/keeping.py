"""Keeps a hub connected: the asyncio shell of `reconnect`.

What must live here: doing what `reconnect.decide` says, and reporting what came of it. What must not: the decisions
themselves, and how a connection that is up is replaced by another (`renewal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tickloom.actors.connection.carrier import Carrier
from tickloom.actors.connection.carriers import Carriers
from tickloom.actors.connection.delivery import Delivery
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CertificateRefused,
    ConnectionLost,
    GatewayError,
    SubscriptionRefused,
)
from tickloom.actors.connection.reconnect import (
    AskToken,
    Connect,
    Decision,
    GiveUp,
    Happening,
    Hold,
    Link,
    Policy,
    Wait,
    decide,
)
from tickloom.actors.connection.renewal import Renewal
from tickloom.config.secrets import Secret


class Keeper:
    """The main loop of a session.

    Args:
        carriers: makes the connections; their token is the one to begin with.
        renewal: replaces a connection that is up; what is under way there ends with the link.
        delivery: told when the link is lost.
        new_token: asked with a sentence saying why; gives a token other than the one refused.
        policy: how patient it is.
        monotonic, chance: seconds, and random numbers in [0, 1).
    """

    def __init__(
        self,
        carriers: Carriers,
        renewal: Renewal,
        delivery: Delivery,
        *,
        new_token: Callable[[str], Awaitable[Secret | None]],
        policy: Policy,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._carriers = carriers
        self._renewal = renewal
        self._delivery = delivery
        self._new_token = new_token
        self._policy = policy
        self._monotonic = monotonic
        self._chance = chance
        self._logout: str | None = None
        self._why = ""  # why there is no link, or was none last
        self._failure: GatewayError | None = None

    async def run(self) -> None:
        """Keep the hub connected until the session is closing, or until it is over for good.

        Raises:
            AuthenticationRefused: no token will do.
            CertificateRefused: the gateway's certificate is not to be trusted.
            GatewayUnreachable: out of patience.
            SubscriptionRefused: the gateway refuses a contract at the first connection.
        """
        link, decision = self._decide(Link(), Happening.START)
        while True:
            match decision:
                case Connect():
                    happening = await self._or_closed(self._open())
                case Wait(seconds):
                    self._carriers.report("down", f"{self._why}; next attempt in {seconds:.1f} s")
                    happening = await self._or_closed(self._pause(seconds))
                case AskToken():
                    happening = await self._or_closed(self._ask_token())
                case Hold():
                    happening = await self._hold()
                case GiveUp():
                    self._give_up(decision)
                    return
            link, decision = self._decide(link, happening)

    def logged_out(self, why: str) -> None:
        """The gateway has ended the session: hang up, whatever comes."""
        self._logout = why
        self._carriers.changed.set()

    def _decide(self, link: Link, happening: Happening) -> tuple[Link, Decision]:
        wait = self._failure.retry_after if happening is Happening.FAILED and self._failure else None
        return decide(self._policy, link, happening, self._monotonic(), self._chance(), wait)

    def _give_up(self, decision: GiveUp) -> None:
        if decision.why == "closed":
            self._carriers.report("down", "closed")
            return
        self._carriers.report("lost", self._why)
        assert self._failure is not None, "nothing else is given up for"
        raise self._failure

    async def _or_closed(self, work: Coroutine[Any, Any, Happening]) -> Happening:
        """Await `work`, or break it off when the session is being closed."""
        carriers = self._carriers
        task = asyncio.create_task(work)
        try:
            while not task.done() and not carriers.closing:
                waker = asyncio.create_task(carriers.changed.wait())
                await asyncio.wait((task, waker), return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                carriers.changed.clear()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return Happening.CLOSE if carriers.closing else task.result()

    # ------------------------------------------------------------------------------------------ without a link

    async def _pause(self, seconds: float) -> Happening:
        await asyncio.sleep(seconds)
        return Happening.DUE

    async def _ask_token(self) -> Happening:
        self._carriers.report("connecting", f"{self._why}; asking for a new token")
        delay = self._policy.base
        while True:
            try:
                self._carriers.token = await self._new_token(self._why)
            except AuthenticationRefused as error:
                self._failed(error)
                return Happening.FAILED
            except GatewayError as error:  # the way to the log-in is blocked for now
                delay = min(self._policy.cap, 2 * delay)
                self._carriers.report("down", f"no new token yet: {error}")
                await asyncio.sleep(max(delay, error.retry_after or 0.0))
            else:
                return Happening.TOKEN

    async def _open(self) -> Happening:
        """Open a connection when there is none."""
        carriers = self._carriers
        carriers.report("connecting", "")
        self._logout = None
        carrier = carriers.new(carriers.token)
        try:
            await carriers.open(carrier)
        except GatewayError as error:
            await carrier.shut()
            if isinstance(error, SubscriptionRefused) and carrier.number == 1:
                raise  # what is configured is wrong: better said at once
            return self._failed(error)
        except BaseException:
            await asyncio.shield(carrier.shut())
            raise
        carriers.current = carrier
        carriers.announce(carrier)
        if carrier.token is not carriers.token:  # a younger one came while this connection was being made
            self._renewal.begin(self._renewal.move_over(carriers.token, "the token was renewed while it connected"))
        return Happening.OPENED

    def _failed(self, error: GatewayError) -> Happening:
        self._failure, self._why = error, str(error)
        if isinstance(error, CertificateRefused):
            return Happening.UNTRUSTED
        if isinstance(error, AuthenticationRefused):
            return Happening.REFUSED
        return Happening.FAILED

    # ------------------------------------------------------------------------------------------ with a link

    async def _hold(self) -> Happening:
        """Stay while the link is up. A successor that is ready takes over by itself when the link breaks."""
        carriers = self._carriers
        while True:
            current = carriers.current
            assert current is not None
            if carriers.closing:
                return Happening.CLOSE
            if self._logout is not None:
                self._why = self._logout
                await self._renewal.abandon()
                await carriers.end(current, self._why)
                carriers.current = None
                self._delivery.lost(self._why)
                return Happening.LOGOUT
            if current.ended:
                if self._renewal.promote():
                    continue
                if carriers.successor is None or carriers.successor.ended:
                    await self._renewal.abandon()
                    return self._lost(current)
                # a new connection is about to be up: no other one can be up sooner
            await carriers.changed.wait()
            carriers.changed.clear()

    def _lost(self, carrier: Carrier) -> Happening:
        carriers = self._carriers
        error = carrier.error() or ConnectionLost(carrier.parting or f"the connection to the {carriers.hub} hub ended")
        if not isinstance(error, GatewayError):
            raise error  # a defect, and not the network's
        self._failure, self._why = error, str(error)
        carriers.current = None
        carriers.gone(carrier, self._why)
        self._delivery.lost(self._why)
        carriers.report("down", self._why)  # "lost" is for good, and said when we give up
        return Happening.EXPIRED if isinstance(error, AuthenticationRefused) else Happening.LOST
