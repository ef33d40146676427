"""A hub over time: one stream of intake out of as many connections as it takes. The asyncio shell of four pure parts.

What must live here: who is connected, what is subscribed, and the order of what is emitted. What must not: how a
connection works (`transport`), when to reconnect (`reconnect`), what two connections make together (`overlap`), what is
missing (`gaps`), what frames mean (`decode`). Everything runs in the loop that called `run`; `run` ends when all its
tasks have.

Theory of operation. `run` does what `reconnect.decide` says. While a link is up, `renew` may put a new connection
beside it, with a new token or for any other reason: it subscribes, both deliver into one `Overlap`, and when the two
are aligned the old one is unsubscribed, drained and closed. If the old one breaks off before, or brings nothing any
more, the new one takes over, and what neither delivered is a gap (`handover`). A new connection that cannot be made is
tried for again until the link has the token it was for. `Subscribed` is emitted before the request goes out, so that an
instrument is known before its first print; a refusal is followed by `Unsubscribed`. A `Gap` is emitted before the
frames that close it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import msgspec

from tickloom.actors.connection.carrier import Carrier, Timing, Want
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CertificateRefused,
    ConnectionLost,
    GatewayError,
    GatewayUnreachable,
    InvocationFailed,
    SubscriptionRefused,
)
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.handover import held_back, missing
from tickloom.actors.connection.overlap import Overlap
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
from tickloom.actors.connection.silence import Silence
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret
from tickloom.messages.control import Connected, Disconnected, Gap, Subscribed, Unsubscribed
from tickloom.messages.intake import Frames, Intake
from tickloom.messages.market import Instrument
from tickloom.messages.projectx import ACCOUNT, LOGOUT
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
        self.hub = hub
        self.policy = policy or Policy()
        self.timing = timing or Timing()
        self.lateness_ns = lateness_ns
        self._connect = connect
        self._decoder = decoder
        self._emit = emit
        self._new_token = new_token
        self._on_link = on_link or _nobody
        self._accounts = tuple(accounts)
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._wanted: dict[str, Want] = {}
        self._gaps = gaps if gaps is not None else GapTracker()
        self._silence = silence
        self._token: Secret | None = None
        self._number = 0
        self._current: Carrier | None = None
        self._successor: Carrier | None = None
        self._overlap: Overlap | None = None
        self._before: dict[str, int] = {}
        self._states: dict[int, bytes] = {}  # what was last said of each account
        self._linger = 0.0
        self._held: list[_Batch] | None = None  # what the successor brought and must wait; None: nothing needs to
        self._scout = Decoder()
        self._told: set[str] = set()  # contracts whose loss at this handover has been told
        self._changed = asyncio.Event()
        self._progress = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._closing = False
        self._logout: str | None = None
        self._parting = ""  # why the current connection is being hung up by us
        self._why = ""
        self._failure: GatewayError | None = None
        self._not_renewed: GatewayError | None = None
        self._extra: set[asyncio.Task[Any]] = set()
        self._renewals: set[asyncio.Task[Any]] = set()  # those begun here, and not by the owner
        self._quotes: dict[str, int] = {}  # how many came of each contract

    # ------------------------------------------------------------------------------------------ for the owner

    @property
    def connection(self) -> HubConnection | None:
        """The connection in use; None while there is none."""
        return None if self._current is None or self._current.ended else self._current.connection

    @property
    def token(self) -> Secret | None:
        """The token the next connection would use; the one that was refused while a new one is asked for."""
        return self._token

    @property
    def connections(self) -> tuple[HubConnection, ...]:
        """Every connection there is: one, or two while one replaces the other."""
        carriers = (self._current, self._successor)
        return tuple(carrier.connection for carrier in carriers if carrier is not None and not carrier.ended)

    async def run(self, token: Secret | None) -> None:
        """Keep the hub connected until `close`, or until it is over for good.

        Raises:
            AuthenticationRefused: no token will do.
            CertificateRefused: the gateway's certificate is not to be trusted.
            GatewayUnreachable: out of patience.
            SubscriptionRefused: the gateway refuses a contract at the first connection.
        """
        self._token = token
        keeper = asyncio.create_task(self._housekeep())
        try:
            await self._follow()
        finally:
            keeper.cancel()
            for task in (*self._extra, *self._renewals):
                task.cancel()
            await asyncio.gather(keeper, *self._extra, *self._renewals, return_exceptions=True)
            for carrier in (self._successor, self._current):
                if carrier is not None:
                    await self._end(carrier, "the session was closed")
            self._successor = self._current = None

    async def subscribe(self, instrument: Instrument, streams: Sequence[str] = ("trades",)) -> None:
        """Follow a contract, now and on every later connection.

        Raises:
            SubscriptionRefused: the gateway refuses it; it is not followed then.
        """
        want = self._wanted[instrument.contract] = Want(instrument, tuple(streams))
        for carrier in (self._current, self._successor):
            if carrier is None or not carrier.ready or carrier.ended:
                continue  # it will subscribe everything wanted when it is up
            try:
                await self._follow_contract(carrier, want)
            except SubscriptionRefused:
                self._wanted.pop(instrument.contract, None)
                self._emit(Unsubscribed(recv_ns=self._wall_ns(), contract=instrument.contract))
                raise
            except GatewayError:
                continue  # the link went; the next one subscribes it

    async def unsubscribe(self, contract: str) -> None:
        """Follow a contract no longer. When this returns, everything delivered has been emitted."""
        want = self._wanted.pop(contract, None)
        if want is None:
            return
        for carrier in (self._current, self._successor):
            if carrier is not None and carrier.ready and not carrier.ended:
                with contextlib.suppress(GatewayError):  # it goes with the link otherwise
                    await carrier.connection.unsubscribe(contract, want.streams)
        self._gaps.forget(contract)
        self._quotes.pop(contract, None)
        self._emit(Unsubscribed(recv_ns=self._wall_ns(), contract=contract))

    async def close(self) -> None:
        """End the session; `run` returns once everything is closed."""
        self._closing = True
        self._changed.set()

    # ------------------------------------------------------------------------------------------ the main loop

    async def _follow(self) -> None:
        link, decision = self._decide(Link(), Happening.START)
        while True:
            match decision:
                case Connect():
                    happening = await self._or_closed(self._open_first())
                case Wait(seconds):
                    self._report("down", f"{self._why}; next attempt in {seconds:.1f} s")
                    happening = await self._or_closed(self._pause(seconds))
                case AskToken():
                    happening = await self._or_closed(self._ask_token())
                case Hold():
                    happening = await self._hold()
                case GiveUp():
                    self._give_up(decision)
                    return
            link, decision = self._decide(link, happening)

    def _decide(self, link: Link, happening: Happening) -> tuple[Link, Decision]:
        wait = self._failure.retry_after if happening is Happening.FAILED and self._failure else None
        return decide(self.policy, link, happening, self._monotonic(), self._rng.random(), wait)

    def _give_up(self, decision: GiveUp) -> None:
        failure = self._failure
        if decision.why == "closed":
            self._report("down", "closed")
            return
        self._report("lost", self._why)
        if failure is not None:
            raise failure
        if decision.why == "authentication":
            raise AuthenticationRefused(self._why)
        raise GatewayUnreachable(self._why)

    async def _or_closed(self, work: Coroutine[Any, Any, Happening]) -> Happening:
        """Await `work`, or break it off when the session is being closed."""
        task = asyncio.create_task(work)
        try:
            while not task.done() and not self._closing:
                waker = asyncio.create_task(self._changed.wait())
                await asyncio.wait((task, waker), return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                self._changed.clear()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return Happening.CLOSE if self._closing else task.result()

    async def _pause(self, seconds: float) -> Happening:
        await asyncio.sleep(seconds)
        return Happening.DUE

    async def _ask_token(self) -> Happening:
        self._report("connecting", f"{self._why}; asking for a new token")
        delay = self.policy.base
        while True:
            try:
                self._token = await self._new_token(self._why)
            except AuthenticationRefused as error:
                self._failed(error)
                return Happening.FAILED
            except GatewayError as error:  # the way to the log-in is blocked for now
                delay = min(self.policy.cap, 2 * delay)
                self._report("down", f"no new token yet: {error}")
                await asyncio.sleep(max(delay, error.retry_after or 0.0))
            else:
                return Happening.TOKEN

    async def _open_first(self) -> Happening:
        """Open a connection when there is none."""
        self._report("connecting", "")
        self._logout = None
        carrier = self._new_carrier(self._token)
        try:
            await self._establish(carrier)
        except GatewayError as error:
            await carrier.shut()
            return self._failed(error)
        except BaseException:
            await asyncio.shield(carrier.shut())
            raise
        self._current = carrier
        self._announce(carrier)
        if carrier.token is not self._token:  # a younger one came while this connection was being made
            task = asyncio.create_task(self.move_over(self._token, "the token was renewed while it connected"))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)
        return Happening.OPENED

    def _failed(self, error: GatewayError) -> Happening:
        self._failure, self._why = error, str(error)
        if isinstance(error, CertificateRefused):
            return Happening.UNTRUSTED
        if isinstance(error, AuthenticationRefused):
            return Happening.REFUSED
        if isinstance(error, SubscriptionRefused) and self._number == 1:
            raise error
        return Happening.FAILED

    async def _hold(self) -> Happening:
        """Stay while the link is up. A successor that is ready takes over by itself when the link breaks."""
        while True:
            current = self._current
            assert current is not None
            if self._closing:
                return Happening.CLOSE
            if self._logout is not None:
                self._why = self._logout
                await self._abandon()
                await self._end(current, self._why)
                self._current = self._overlap = None
                self._gaps.lost(self._why)
                return Happening.LOGOUT
            if current.ended:
                if self._promoted(current):
                    continue
                if self._successor is None or self._successor.ended:
                    await self._abandon()
                    return self._lost(current)
                # a new connection is about to be up: no other one can be up sooner
            await self._changed.wait()
            self._changed.clear()

    def _lost(self, carrier: Carrier) -> Happening:
        error = carrier.error() or ConnectionLost(self._parting or f"the connection to the {self.hub} hub ended")
        self._parting = ""
        if not isinstance(error, GatewayError):
            raise error  # a defect, and not the network's
        self._why = str(error)
        self._failure = error
        self._current = self._overlap = None
        self._emit(self._disconnected(carrier, self._why))
        self._gaps.lost(self._why)
        self._report("down", self._why)  # "lost" is for good, and said when we give up
        return Happening.EXPIRED if isinstance(error, AuthenticationRefused) else Happening.LOST

    # ------------------------------------------------------------------------------------------ connections

    def _new_carrier(self, token: Secret | None) -> Carrier:
        self._number += 1
        return Carrier(self.hub, self._number, self._connect(token), token)

    async def _establish(self, carrier: Carrier) -> None:
        """Open a connection and subscribe everything wanted."""
        connection = carrier.connection
        await connection.open()
        carrier.task = asyncio.create_task(connection.run(partial(self._frames, carrier)))
        carrier.task.add_done_callback(self._woken)
        if self.hub == "user":
            await connection.subscribe_accounts()
            for account in self._accounts:
                await connection.subscribe_account(account)
        for want in tuple(self._wanted.values()):
            await self._follow_contract(carrier, want)
        if carrier.ended:
            raise carrier.error() or ConnectionLost(f"the connection to the {self.hub} hub ended")
        carrier.ready = True

    def _woken(self, _: asyncio.Task[None]) -> None:
        self._changed.set()
        self._progress.set()

    async def _follow_contract(self, carrier: Carrier, want: Want) -> None:
        now, contract = self._wall_ns(), want.instrument.contract
        self._emit(
            Subscribed(
                recv_ns=now, hub=self.hub, connection=carrier.number, contract=contract, instrument=want.instrument
            )
        )
        await carrier.connection.subscribe(contract, want.streams)
        self._gaps.confirmed(contract, self._wall_ns())

    def _announce(self, carrier: Carrier) -> None:
        self._failure = None
        self._emit(Connected(recv_ns=self._wall_ns(), hub=self.hub, connection=carrier.number))
        self._report("up", "")

    def _disconnected(self, carrier: Carrier, cause: str) -> Disconnected:
        return Disconnected(recv_ns=self._wall_ns(), hub=self.hub, connection=carrier.number, cause=cause)

    async def _end(self, carrier: Carrier, cause: str, *, patient: bool = True) -> None:
        """Close a connection of ours and say so. Not patient: it is dead, and would not answer a goodbye."""
        await carrier.shut(patient=patient)
        self._emit(self._disconnected(carrier, cause))

    # ------------------------------------------------------------------------------------------ make before break

    async def move_over(self, token: Secret | None, why: str) -> None:
        """Have the link use `token`: `renew`, again and again if need be, until it does or another one is to be used.

        A link that is down takes the token with its next attempt.
        """
        delay = self.policy.base
        while not await self.renew(token, why) and self._token is token and not self._closing:
            current = self._current
            if current is None or current.ended or current.token is token:
                return
            await asyncio.sleep(delay * (1.0 - self.policy.jitter * self._rng.random()))
            delay = min(self.policy.cap, 2 * delay)
            if self._token is not token:
                return
            if isinstance(self._not_renewed, AuthenticationRefused):
                try:
                    token = await self._new_token(f"{self._not_renewed}; the link still has its old token")
                except GatewayError as error:
                    self._report("up", f"the connection could not be renewed: {error}")

    async def start_over(self, token: Secret | None, why: str) -> None:
        """Have the link use `token` by hanging up and connecting again: `move_over` without a second connection.

        What comes between is a gap. A link that is down takes the token with its next attempt.
        """
        self._token = token
        current = self._current
        if current is not None and not current.ended:
            self._parting = why
            await current.shut()

    async def renew(self, token: Secret | None, why: str) -> bool:
        """Replace the connection by a new one that authenticates with `token`, without losing or doubling a print.

        Returns whether it was replaced. If it was not (the new connection could not be made, or there was none to
        replace), the old one goes on and the token is used for the next one.
        """
        self._token = token
        async with self._renewing:
            old = self._current
            if old is None or old.ended or self._closing:
                return False
            task = asyncio.create_task(self._replace(old, token, why))
            self._extra.add(task)
            task.add_done_callback(self._extra.discard)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():  # given up by the main loop; we are not
                    return False
                raise

    async def _abandon(self) -> None:
        """Give up a replacement that is under way."""
        for task in tuple(self._extra):
            task.cancel()
        await asyncio.gather(*self._extra, return_exceptions=True)

    async def _replace(self, old: Carrier, token: Secret | None, why: str) -> bool:
        await self._until(lambda: self._overlap is None, self.timing.drain)  # one overlap at a time
        new = self._new_carrier(token)
        self._overlap = overlap = Overlap(old.source, new.source, self.lateness_ns, self._states.values())
        self._before = {contract: self._gaps.newest(contract) for contract in self._wanted}
        self._told = set()
        self._held = []
        self._successor = new
        answered = False
        try:
            await self._establish(new)
            self._announce(new)
            self._changed.set()
            if self.hub == "user":
                await self._until(lambda: old.ended, self.timing.settle)
            behind = self._behind(overlap)
            await self._until(
                lambda: old.ended or new.ended or bool(behind()) or all(map(overlap.aligned, self._wanted)),
                self.timing.align,
            )
            if new.ended and not old.ended:
                raise new.error() or ConnectionLost("the new connection ended")
            self._tell(behind(), overlap, f"connection {old.number} was held up", answered=True)
            self._let_go_if_met()
            suspects = held_back(overlap, self._wanted, self._gaps)
            answered = not old.ended and await self._drain(old)
        except BaseException as error:
            if self._successor is new:
                self._let_go(new)
                self._successor = None
                overlap.end(new.source)
                self._linger = self._monotonic() + self.timing.linger
                await asyncio.shield(new.shut(patient=False))
                self._changed.set()
            if not isinstance(error, GatewayError):
                raise
            self._not_renewed = error
            self._report("up", f"the connection could not be renewed: {error}")
            return False
        if self._successor is new:  # else the old one broke off, and the main loop has handed over
            self._current, self._successor = new, None
            overlap.end(old.source)
            self._linger = self._monotonic() + self.timing.linger
            how = "was held up" if answered else f"broke off ({old.error()})" if old.error() else "did not answer"
            self._tell(suspects, overlap, f"connection {old.number} {how}", answered=answered)
            self._let_go(new)
            await self._end(old, f"replaced by connection {new.number}: {why}", patient=answered)
        self._changed.set()
        return True

    def _behind(self, overlap: Overlap) -> Callable[[], list[str]]:
        """Return what tells the contracts in which the old connection has been behind the new one for too long."""
        since: dict[str, float] = {}

        def behind() -> list[str]:
            now, suspects = self._monotonic(), held_back(overlap, self._wanted, self._gaps)
            for contract in tuple(since):
                if contract not in suspects:
                    del since[contract]
            return [contract for contract in suspects if now - since.setdefault(contract, now) > self.timing.lag]

        return behind

    def _tell(self, suspects: Collection[str], overlap: Overlap, cause: str, *, answered: bool) -> None:
        """Tell what is missing at a handover, once a contract."""
        contracts = [contract for contract in self._wanted if contract not in self._told]
        for contract, from_ns, to_ns in missing(
            overlap, contracts, self._gaps, self._newest_before, answered=answered, held_back=suspects
        ):
            self._told.add(contract)
            if to_ns is None:
                self._gaps.lost(cause, (contract,))
                self._gaps.confirmed(contract, self._wall_ns())
            else:
                self._emit(Gap(recv_ns=self._wall_ns(), contract=contract, from_ns=from_ns, to_ns=to_ns, cause=cause))

    def _newest_before(self, contract: str) -> int:
        return self._before.get(contract) or self._gaps.newest(contract)

    async def _drain(self, old: Carrier) -> bool:
        """Unsubscribe: once that is answered, the old connection has delivered its last. False: it was not."""
        try:
            async with asyncio.timeout(self.timing.drain):
                for want in tuple(self._wanted.values()):
                    with contextlib.suppress(SubscriptionRefused):  # an answer all the same
                        await old.connection.unsubscribe(want.instrument.contract, want.streams)
                if self.hub == "user":
                    await old.connection.unsubscribe_accounts(self._accounts)
        except InvocationFailed as error:
            return error.answered
        except (GatewayError, TimeoutError):
            return False
        return True

    async def _until(self, condition: Callable[[], bool], patience: float) -> None:
        """Wait for a condition that can change with every batch, for as long as `patience` seconds."""
        end = self._monotonic() + patience
        while not condition() and not self._closing:
            left = end - self._monotonic()
            if left <= 0:
                return
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._progress.wait()

    def _promoted(self, old: Carrier) -> bool:
        """Let the successor take over from a connection that broke off; False if there is none that can."""
        new, overlap = self._successor, self._overlap
        if new is None or overlap is None or not new.ready or new.ended:
            return False
        error = old.error()
        if error is not None and not isinstance(error, GatewayError):
            raise error
        cause = str(error or "the connection was closed")
        self._current, self._successor = new, None
        overlap.end(old.source)
        self._linger = self._monotonic() + self.timing.linger
        self._emit(self._disconnected(old, cause))
        self._tell((), overlap, cause, answered=False)
        self._let_go(new)
        return True

    # ------------------------------------------------------------------------------------------ what is delivered

    def _frames(self, carrier: Carrier, payloads: list[bytes], walls: list[int], monos: list[int]) -> None:
        """Take what a connection received.

        A gap must be told before the print that follows it: that print moves the market's time, and bars the gap
        touches may be final then. So the first prints of a successor wait until the old connection has come as far, or
        it is clear that it will not.
        """
        if self._held is None or carrier is not self._successor:
            self._deliver(carrier, payloads, walls, monos)
        else:
            self._held.append((payloads, walls, monos))
            prints = self._scout.decode(carrier.source, payloads, walls, monos).prints
            if prints is not None and self._overlap is not None:
                self._overlap.announce(prints)
            self._progress.set()
        self._let_go_if_met()

    def _let_go_if_met(self) -> None:
        """Pass on what the successor brought, unless a contract's first print has neither come on the old one nor is
        told to be missing.
        """
        new, overlap = self._successor, self._overlap
        if not self._held or new is None or overlap is None:
            return
        if self._told.issuperset(held_back(overlap, self._wanted, self._gaps)):
            held, self._held = self._held, []
            for batch in held:
                self._deliver(new, *batch)

    def _let_go(self, new: Carrier) -> None:
        """Pass on what the successor brought, and let nothing of its wait any more."""
        held, self._held = self._held, None
        for batch in held or ():
            self._deliver(new, *batch)

    def _deliver(self, carrier: Carrier, payloads: list[bytes], walls: list[int], monos: list[int]) -> None:
        overlap = self._overlap
        if overlap is not None and carrier.source not in (overlap.old, overlap.new):
            overlap = None
        admit = None if overlap is None else partial(overlap.admit, carrier.source)
        frames = self._decoder.decode(carrier.source, payloads, walls, monos, admit)
        if overlap is not None:
            frames = overlap.filtered(frames)
            # stamps tell when all prints of two connections have met; quiet contracts and events are given some time
            if (overlap.done and self.hub == "market") or (overlap.over and self._monotonic() > self._linger):
                self._overlap = None
        self._progress.set()
        if frames.prints is not None:
            for gap in self._gaps.saw(frames.prints, self._wall_ns(), measure=overlap is None):
                self._emit(gap)
        self._emit(frames)
        for _, quote in frames.quotes:
            self._quotes[quote.contract] = self._quotes.get(quote.contract, 0) + 1
        if frames.events:
            self._look_at_events(frames)

    def _look_at_events(self, frames: Frames) -> None:
        for _, target, payload in frames.events:
            if target == ACCOUNT:
                self._states[_account_id(payload)] = payload
            elif target == LOGOUT:
                words = payload.decode("utf-8", "replace")[1:-1][:120]
                self._logout = "the gateway ended this session because another one took over" + (
                    f" ({words})" if words else ""
                )
                self._changed.set()

    # ------------------------------------------------------------------------------------------ reports

    async def _housekeep(self) -> None:
        while True:
            await asyncio.sleep(self.timing.housekeeping)
            for gap in self._gaps.on_time(self._wall_ns()):
                self._emit(gap)
            if self.connection is not None:
                self._report("up", "")
            if self._silence is not None:
                self._listen(self._silence)

    def _listen(self, silence: Silence) -> None:
        """Begin to replace the connection if a contract has been silent for too long."""
        up = self.connection is not None and not self._renewing.locked()
        why = silence.look(tuple(self._wanted), self._mark, self._wall_ns(), self._monotonic(), up=up)
        if why is not None:
            task = asyncio.create_task(self.renew(self._token, why))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    def _mark(self, contract: str) -> int:
        """Return a number that changes with every print and quote of a contract: neither part of it ever falls."""
        return self._gaps.newest(contract) + self._quotes.get(contract, 0)

    def _report(self, state: Literal["connecting", "up", "down", "lost"], detail: str) -> None:
        connection = self.connection
        trip = connection.round_trip if connection is not None else None
        self._on_link(LinkState(self.hub, state, detail, 0 if trip is None else round(trip * 1e9)))


_Batch: TypeAlias = tuple[list[bytes], list[int], list[int]]
"""Payloads, and for each when it was received by two clocks."""


class _Named(msgspec.Struct):
    id: int


def _account_id(payload: bytes) -> int:
    return msgspec.json.decode(payload, type=_Named).id  # the decoder let no other account pass


def _nobody(_: LinkState) -> None:
    return None
