"""Has the link use another token, or another connection, while it is up. The tasks that do so are owned here.

What must live here: when a replacement is tried, tried again and given up. What must not: how one connection replaces
another (`replacement`), and what is done while there is none (`keeping`).

One replacement runs at a time, and begins when the overlap of the one before is over. A new connection that cannot be
made is tried for again, ever less often, until the link has the token it was for or another token is to be used. A
token that is refused is replaced by a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tickloom.actors.connection.carrier import Carrier, Timing
from tickloom.actors.connection.carriers import Carriers
from tickloom.actors.connection.delivery import Delivery
from tickloom.actors.connection.errors import AuthenticationRefused, GatewayError
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.replacement import Replacement
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.config.secrets import Secret


class Renewal:
    """Replaces the connection in use of one hub, again and again.

    Args:
        carriers, subscriptions, delivery: what a replacement works with.
        new_token: asked with a sentence saying why; gives a token other than the one refused.
        policy, timing: how patient it is.
        monotonic, chance: seconds, and random numbers in [0, 1).
    """

    def __init__(
        self,
        carriers: Carriers,
        subscriptions: Subscriptions,
        delivery: Delivery,
        *,
        new_token: Callable[[str], Awaitable[Secret | None]],
        policy: Policy,
        timing: Timing,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._carriers = carriers
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._new_token = new_token
        self._policy = policy
        self._timing = timing
        self._monotonic = monotonic
        self._chance = chance
        self._renewing = asyncio.Lock()
        self._replacement: Replacement | None = None  # the one under way
        self._replacing: set[asyncio.Task[bool]] = set()
        self._begun: set[asyncio.Task[Any]] = set()
        self._failure: GatewayError | None = None  # why the last one failed

    @property
    def under_way(self) -> bool:
        """Whether a connection is being replaced."""
        return self._renewing.locked()

    async def renew(self, token: Secret | None, why: str) -> bool:
        """Replace the connection in use by a new one that authenticates with `token`; return whether it was.

        If it was not (the new connection could not be made, or there was none to replace), the old one goes on and the
        token is used for the next one.
        """
        self._carriers.token = token
        async with self._renewing:
            old = self._carriers.up
            if old is None or self._carriers.closing:
                return False
            task = asyncio.create_task(self._replace(old, token, why))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():  # given up by the main loop; we are not
                    return False
                raise

    async def move_over(self, token: Secret | None, why: str) -> None:
        """Have the link use `token`: `renew`, again and again if need be, until it does or another one is to be used.

        A link that is down takes the token with its next attempt.
        """
        carriers, delay = self._carriers, self._policy.base
        while not await self.renew(token, why) and carriers.token is token and not carriers.closing:
            current = carriers.up
            if current is None or current.token is token:
                return
            await asyncio.sleep(delay * (1.0 - self._policy.jitter * self._chance()))
            delay = min(self._policy.cap, 2 * delay)
            if carriers.token is not token:
                return
            if isinstance(self._failure, AuthenticationRefused):
                try:
                    token = await self._new_token(f"{self._failure}; the link still has its old token")
                except GatewayError as error:
                    self._report(error)

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something of this in a task that ends with the session at the latest."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    def promote(self) -> bool:
        """The connection in use broke off: let the successor take over; False if there is none that can."""
        return self._replacement is not None and self._replacement.promote()

    async def abandon(self) -> None:
        """Give up a replacement that is under way."""
        await _cancelled(self._replacing)

    async def close(self) -> None:
        """End everything that was begun."""
        await _cancelled(self._replacing | self._begun)

    async def _replace(self, old: Carrier, token: Secret | None, why: str) -> bool:
        await self._carriers.until(lambda: not self._delivery.comparing, self._timing.drain)  # one overlap at a time
        self._replacement = replacement = Replacement(
            old,
            self._carriers.new(token),
            carriers=self._carriers,
            subscriptions=self._subscriptions,
            delivery=self._delivery,
            timing=self._timing,
            monotonic=self._monotonic,
        )
        try:
            await replacement.run(why)
        except GatewayError as error:
            self._failure = error
            self._report(error)
            return False
        finally:
            self._replacement = None
        return True

    def _report(self, error: GatewayError) -> None:
        self._carriers.report("up", f"the connection could not be renewed: {error}")


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
