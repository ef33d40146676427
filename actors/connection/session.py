"""A hub over time: one stream of intake out of as many connections as it takes.

What must live here: what the owner of a session asks of it, how its parts are put together, and what it looks at now
and then. What must not: anything a part knows. Everything runs in the loop that called `run`; `run` ends when all its
tasks have.

The parts, of which each knows none that comes after it:

- `subscriptions`: what is followed, and the requests for it;
- `delivery`: what comes becomes one stream, gaps first;
- `carriers`: the connections, one in use and perhaps one beside it;
- `renewal`: puts another connection in the place of the one in use, by way of `replacement` and `telling`;
- `keeping`: does what `reconnect.decide` says, from the first connection to the last.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from tickloom.actors.connection.carrier import Timing
from tickloom.actors.connection.carriers import Carriers
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.delivery import Delivery
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.keeping import Keeper
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.renewal import Renewal
from tickloom.actors.connection.silence import Silence
from tickloom.actors.connection.subscriptions import Subscriptions
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.intake import Intake
from tickloom.messages.market import Instrument
from tickloom.messages.reports import LinkState


class HubSession:
    """Keeps one hub connected, and emits what it delivers.

    Args:
        hub: which one.
        connect: makes a connection (not yet open) that authenticates with the token given.
        decoder: of the whole session, so that prints are numbered in order of arrival.
        emit: takes frames and control records in their order; must not block. What it raises ends the session.
        new_token: asked with a sentence saying why; gives a token other than the one refused.
        on_link: told of every change of the link, and of the round trip.
        accounts: what to follow on the user hub.
        policy, timing: how patient it is.
        lateness_ns: how late a print may be against the newest before it (see `overlap`).
        gaps: what is known to be missing, where an earlier life left off.
        silence: judges whether a contract's silence asks for a new connection; None: nobody does.
        wall_ns, monotonic, rng: time and chance, as parameters.
    """

    def __init__(
        self,
        hub: Literal["market", "user"],
        connect: Callable[[Secret | None], HubConnection],
        decoder: Decoder,
        emit: Callable[[Intake], None],
        *,
        new_token: Callable[[str], Awaitable[Secret | None]],
        on_link: Callable[[LinkState], None] | None = None,
        accounts: Sequence[int] = (),
        policy: Policy | None = None,
        timing: Timing | None = None,
        lateness_ns: int = 1_000_000_000,
        gaps: GapTracker | None = None,
        silence: Silence | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        policy, timing = policy or Policy(), timing or Timing()
        gaps = gaps if gaps is not None else GapTracker()
        chance = (rng or random.Random()).random  # noqa: S311 - spreads reconnects, guards nothing
        self._silence = silence
        self._housekeeping = timing.housekeeping
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._subscriptions = Subscriptions(hub, accounts, gaps, emit, wall_ns)
        self._delivery = Delivery(
            hub,
            decoder,
            gaps,
            emit,
            on_logout=self._logged_out,
            lateness_ns=lateness_ns,
            linger=timing.linger,
            wall_ns=wall_ns,
            monotonic=monotonic,
        )
        self._carriers = Carriers(
            hub,
            connect,
            self._subscriptions,
            self._delivery.take,
            emit,
            on_link or _nobody,
            wall_ns=wall_ns,
            monotonic=monotonic,
        )
        self._renewal = Renewal(
            self._carriers,
            self._subscriptions,
            self._delivery,
            new_token=new_token,
            policy=policy,
            timing=timing,
            monotonic=monotonic,
            chance=chance,
        )
        self._keeper = Keeper(
            self._carriers,
            self._renewal,
            self._delivery,
            new_token=new_token,
            policy=policy,
            monotonic=monotonic,
            chance=chance,
        )

    # ------------------------------------------------------------------------------------------ connections

    @property
    def connection(self) -> HubConnection | None:
        """The connection in use; None while there is none."""
        return None if self._carriers.up is None else self._carriers.up.connection

    @property
    def token(self) -> Secret | None:
        """The token the next connection would use; the one that was refused while a new one is asked for."""
        return self._carriers.token

    @property
    def connections(self) -> tuple[HubConnection, ...]:
        """Every connection there is: one, or two while one replaces the other."""
        return tuple(carrier.connection for carrier in self._carriers.alive)

    async def run(self, token: Secret | None) -> None:
        """Keep the hub connected until `close`, or until it is over for good.

        Raises:
            AuthenticationRefused: no token will do.
            CertificateRefused: the gateway's certificate is not to be trusted.
            GatewayUnreachable: out of patience.
            SubscriptionRefused: the gateway refuses a contract at the first connection.
        """
        self._carriers.token = token
        housekeeper = asyncio.create_task(self._housekeep())
        try:
            await self._keeper.run()
        finally:
            housekeeper.cancel()
            await self._renewal.close()
            await asyncio.gather(housekeeper, return_exceptions=True)
            await self._carriers.end_all("the session was closed")

    async def close(self) -> None:
        """End the session; `run` returns once everything is closed."""
        self._carriers.close()

    # ------------------------------------------------------------------------------------------ contracts

    async def subscribe(self, instrument: Instrument, streams: Sequence[str] = ("trades",)) -> None:
        """Follow a contract, now and on every later connection.

        Raises:
            SubscriptionRefused: the gateway refuses it; it is not followed then.
        """
        await self._subscriptions.add(instrument, streams, self._carriers.alive)

    async def unsubscribe(self, contract: str) -> None:
        """Follow a contract no longer. When this returns, everything delivered has been emitted."""
        await self._subscriptions.remove(contract, self._carriers.alive)
        self._delivery.forget(contract)

    # ------------------------------------------------------------------------------------------ tokens

    async def renew(self, token: Secret | None, why: str) -> bool:
        """Replace the connection by a new one that authenticates with `token`, without losing or doubling a print.

        Returns whether it was replaced. If it was not (the new connection could not be made, or there was none to
        replace), the old one goes on and the token is used for the next one.
        """
        return await self._renewal.renew(token, why)

    async def move_over(self, token: Secret | None, why: str) -> None:
        """Have the link use `token`: `renew`, again and again if need be, until it does or another one is to be used.

        A link that is down takes the token with its next attempt.
        """
        await self._renewal.move_over(token, why)

    async def start_over(self, token: Secret | None, why: str) -> None:
        """Have the link use `token` by hanging up and connecting again: `move_over` without a second connection.

        What comes between is a gap. A link that is down takes the token with its next attempt.
        """
        self._carriers.token = token
        current = self._carriers.up
        if current is not None:
            current.parting = why
            await current.shut()

    def _logged_out(self, why: str) -> None:
        self._keeper.logged_out(why)

    # ------------------------------------------------------------------------------------------ now and then

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(self._housekeeping)
            self._delivery.on_time()
            if self._carriers.up is not None:
                self._carriers.report("up", "")
            if self._silence is not None:
                self._listen(self._silence)

    def _listen(self, silence: Silence) -> None:
        """Begin to replace the connection if a contract has been silent for too long."""
        contracts, mark = self._subscriptions.contracts, self._delivery.mark
        up = self._carriers.up is not None and not self._renewal.under_way
        why = silence.look(contracts, mark, self._wall_ns(), self._monotonic(), up=up)
        if why is not None:
            self._renewal.begin(self._renewal.renew(self._carriers.token, why))


def _nobody(_: LinkState) -> None:
    return None
