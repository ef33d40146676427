"""What a session follows on its hub, and the requests that have a connection deliver it.

What must live here: the contracts wanted, the accounts, and what the log is told of following them. What must not:
which connections there are (`carriers`), what they deliver (`delivery`).

`Subscribed` is emitted before the request goes out, so that an instrument is known before its first print; a refusal is
followed by `Unsubscribed`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from tickloom.actors.connection.carrier import Carrier
from tickloom.actors.connection.errors import GatewayError, InvocationFailed, SubscriptionRefused
from tickloom.actors.connection.gaps import GapTracker
from tickloom.messages.control import Subscribed, Unsubscribed
from tickloom.messages.intake import Intake
from tickloom.messages.market import Instrument


class Want(NamedTuple):
    """A contract to follow, and which of its streams."""

    instrument: Instrument
    streams: tuple[str, ...]


class Subscriptions:
    """Everything one hub is asked for, by however many connections.

    Args:
        hub: which one.
        accounts: what to follow on the user hub.
        gaps: told when a contract is confirmed, and when it is wanted no longer.
        emit: takes `Subscribed` and `Unsubscribed`.
        wall_ns: the wall clock.
    """

    def __init__(
        self,
        hub: Literal["market", "user"],
        accounts: Sequence[int],
        gaps: GapTracker,
        emit: Callable[[Intake], None],
        wall_ns: Callable[[], int],
    ) -> None:
        self._hub = hub
        self._accounts = tuple(accounts)
        self._gaps = gaps
        self._emit = emit
        self._wall_ns = wall_ns
        self._wanted: dict[str, Want] = {}

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts that are wanted."""
        return tuple(self._wanted)

    async def add(self, instrument: Instrument, streams: Sequence[str], carriers: Iterable[Carrier]) -> None:
        """Want a contract from now on, and have those connections deliver it that are up.

        Raises:
            SubscriptionRefused: the gateway refuses it; it is not wanted then.
        """
        want = self._wanted[instrument.contract] = Want(instrument, tuple(streams))
        for carrier in carriers:
            if not carrier.ready or carrier.ended:
                continue  # it will subscribe everything wanted when it is up
            try:
                await self._follow(carrier, want)
            except SubscriptionRefused:
                self._wanted.pop(instrument.contract, None)
                self._emit(Unsubscribed(recv_ns=self._wall_ns(), contract=instrument.contract))
                raise
            except GatewayError:
                continue  # the link went; the next one subscribes it

    async def remove(self, contract: str, carriers: Iterable[Carrier]) -> None:
        """Want a contract no longer. When this returns, the connections have delivered their last of it."""
        want = self._wanted.pop(contract, None)
        if want is None:
            return
        for carrier in carriers:
            if carrier.ready and not carrier.ended:
                with contextlib.suppress(GatewayError):  # it goes with the link otherwise
                    await carrier.connection.unsubscribe(contract, want.streams)
        self._gaps.forget(contract)
        self._emit(Unsubscribed(recv_ns=self._wall_ns(), contract=contract))

    async def establish(self, carrier: Carrier) -> None:
        """Have a connection that has just been opened deliver everything wanted.

        Raises:
            SubscriptionRefused: the gateway refuses a contract or an account.
            GatewayError: the connection broke off, or does not answer.
        """
        if self._hub == "user":
            await carrier.connection.subscribe_accounts()
            for account in self._accounts:
                await carrier.connection.subscribe_account(account)
        for want in tuple(self._wanted.values()):
            await self._follow(carrier, want)

    async def drain(self, carrier: Carrier, patience: float) -> bool:
        """Have a connection deliver nothing any more. Once that is answered, it has delivered its last.

        Returns whether it was answered, within `patience` seconds.
        """
        try:
            async with asyncio.timeout(patience):
                for want in tuple(self._wanted.values()):
                    with contextlib.suppress(SubscriptionRefused):  # an answer all the same
                        await carrier.connection.unsubscribe(want.instrument.contract, want.streams)
                if self._hub == "user":
                    await carrier.connection.unsubscribe_accounts(self._accounts)
        except InvocationFailed as error:
            return error.answered
        except (GatewayError, TimeoutError):
            return False
        return True

    async def _follow(self, carrier: Carrier, want: Want) -> None:
        now, contract = self._wall_ns(), want.instrument.contract
        self._emit(
            Subscribed(
                recv_ns=now, hub=self._hub, connection=carrier.number, contract=contract, instrument=want.instrument
            )
        )
        await carrier.connection.subscribe(contract, want.streams)
        self._gaps.confirmed(contract, self._wall_ns())
