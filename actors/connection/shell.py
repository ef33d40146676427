"""The actor of a hub: runs its `HubSession`, and hands what it emits to the sequencer.

Its thread owns one event loop, and that loop never waits for a mailbox in a thread's way: when the sequencer has no
room, items wait here, in order, and from `BACKLOG` of them on the socket is not read until there is room again. TCP
then tells the gateway.

The decoder belongs to the place: an incarnation that comes back after a crash goes on numbering prints where the
one before it ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import aiohttp
import msgspec

from tickloom.actors.connection.address import open_sockets
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import (
    CredentialsRefused,
    GatewayError,
    GatewayUnreachable,
    SubscriptionRefused,
)
from tickloom.actors.connection.gaps import GapTracker
from tickloom.actors.connection.reconnect import Policy
from tickloom.actors.connection.session import HubSession
from tickloom.actors.connection.silence import Silence
from tickloom.actors.connection.thinning import Thin, thinned
from tickloom.actors.connection.transport import HubConnection
from tickloom.actors.sequencer import Sequencer
from tickloom.actors.token.messages import CurrentToken, FreshToken, NoTokenYetError, Renewed, TokenRefusedError
from tickloom.config.secrets import Secret
from tickloom.messages.control import Disconnected
from tickloom.messages.intake import Frames, Intake
from tickloom.messages.market import NS, Instrument
from tickloom.messages.reports import LinkState, Report
from tickloom.supervision import (
    NOTHING,
    ActorContext,
    ActorDead,
    AskRefused,
    AsyncActor,
    Exit,
    ExitKind,
    Ref,
)

NOT_THIN: Final = Thin()

BACKLOG: Final = 64
"""Items that may wait here for room before the socket is not read any more."""

TOKEN_S: Final = 120.0
"""Longest a token is waited for."""

TOKEN_PAUSE_S: Final = 0.25
"""Time between two questions for a token that is being obtained."""


class Follow(msgspec.Struct, frozen=True):
    """Ask to follow a contract; the reply comes when the hub has confirmed it."""

    instrument: Instrument


class Unfollow(msgspec.Struct, frozen=True):
    """Ask to follow a contract no longer."""

    contract: str


class NotFollowedError(AskRefused):
    """The hub refused a contract. The sentence names it."""


class Kept(msgspec.Struct):
    """What outlives an incarnation: contracts followed, numbering, what is missing, how many lives there were."""

    instruments: dict[str, Instrument]
    decoder: Decoder
    gaps: GapTracker
    lives: int = 0
    merged_quotes: int = 0
    dropped_depth: int = 0


class HubActor(AsyncActor):
    """Keeps one hub.

    Args:
        hub: which one.
        settings: where and how.
        policy: how patient to be.
        instruments: the contracts to follow from the start (market hub).
        streams: what to subscribe of each: `trades`, `quotes`, `depth`.
        accounts: what to follow on the user hub.
        sequencer: where everything goes.
        token: the token actor.
        health: told of every change of the link.
        listener: called with every change, in this actor's thread; must not block.
        open_session: makes the HTTP session.
        first_tick: number of the first print.
        gaps: what is known to be missing, where a session before this one was cut off.
        silence: judges whether a contract's silence asks for a new connection; None: nobody does.
        seamless: a renewed token gets a connection beside the old one before that is closed; else after it.
        statistics: told what gave way under pressure; None: nobody counts.
    """

    def __init__(
        self,
        context: ActorContext,
        hub: Literal["market", "user"],
        *,
        settings: HubSettings,
        policy: Policy,
        instruments: Mapping[str, Instrument],
        streams: tuple[str, ...],
        accounts: tuple[int, ...],
        sequencer: Sequencer,
        token: Ref,
        health: Ref,
        listener: Callable[[LinkState], None],
        open_session: Callable[[], aiohttp.ClientSession],
        first_tick: int = 0,
        gaps: GapTracker | None = None,
        silence: Silence | None = None,
        seamless: bool = True,
        statistics: Ref | None = None,
    ) -> None:
        super().__init__(context)
        kept = context.recall()
        self._kept = Kept(dict(instruments), Decoder(first_tick), gaps or GapTracker()) if kept is NOTHING else kept
        self._name: Literal["market", "user"] = hub
        self._settings = settings
        self._policy = policy
        self._streams = streams
        self._accounts = accounts
        self._sequencer = sequencer
        self._token = token
        self._health = health
        self._listener = listener
        self._open_session = open_session
        self._silence = silence
        self._seamless = seamless
        self._statistics = statistics
        self._thin = NOT_THIN
        self._http: aiohttp.ClientSession | None = None
        self._session: HubSession | None = None
        self._backlog: deque[Intake] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._used: Secret | None = None

    # --- hooks ------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Begin to connect. An incarnation that follows a crash says so: the link was lost with it."""
        self._kept.lives += 1
        self.context.commit(self._kept)
        self._http = self._open_session()
        clock = self.context.clock
        self._session = HubSession(
            self._name,
            self._connect,
            self._kept.decoder,
            self._emit,
            new_token=self._fresh_token,
            on_link=self._on_link,
            accounts=self._accounts,
            policy=self._policy,
            gaps=self._kept.gaps,
            silence=self._silence,
            wall_ns=clock.wall_ns,
            monotonic=lambda: clock.monotonic_ns() / NS,
        )
        if self._kept.lives > 1:
            cause = "the actor of the connection was restarted"
            self._kept.gaps.lost(cause)
            self._emit(Disconnected(recv_ns=clock.wall_ns(), hub=self._name, connection=0, cause=cause))
        for instrument in self._kept.instruments.values():
            await self._session.subscribe(instrument, self._streams)
        self.spawn(self._run(self._session), "session")

    async def on_control(self, message: Any) -> Any:
        """Follow, no longer follow, or move over to a younger token."""
        assert self._session is not None
        match message:
            case Follow(instrument):
                try:
                    await self._session.subscribe(instrument, self._streams)
                except SubscriptionRefused as error:
                    raise NotFollowedError(str(error)) from None
                self._kept.instruments[instrument.contract] = instrument
                return None
            case Unfollow(contract):
                self._kept.instruments.pop(contract, None)
                await self._session.unsubscribe(contract)
                return None
            case Thin():
                self._thin = message
                self._tell_thinned()
                return None
            case Renewed(token):
                # beside the control lane: two connections side by side may take a while to align
                replace = self._session.move_over if self._seamless else self._session.start_over
                self.spawn(replace(token, "the token was renewed"), "renew")
                return None
        return self.unhandled(message)

    async def on_exit(self, reason: Exit) -> None:
        """Hang up; what was received before goes its way first, unless this is a crash."""
        if reason.kind is not ExitKind.CRASH:
            while self._backlog:
                await self._sequencer.put_async(self._backlog[0])
                self._backlog.popleft()
        if self._http is not None:
            await self._http.close()

    def holds(self) -> dict[str, int]:
        """Its tasks, and the sockets of its connections."""
        return super().holds() | {"sockets": open_sockets(self._http)}

    # --- the session's needs --------------------

    async def _run(self, session: HubSession) -> None:
        """Run the session to its end. A feed lost for good is no crash: another start would not bring it back."""
        try:
            await session.run(await self._ask_token(CurrentToken()))
        except GatewayError as error:
            refused = isinstance(error, SubscriptionRefused)
            self._on_link(LinkState(self._name, "lost", str(error), refused=refused))

    def _connect(self, token: Secret | None) -> HubConnection:
        assert self._http is not None
        self._used = token
        clock = self.context.clock
        return HubConnection(self._settings, token, self._http, wall_ns=clock.wall_ns, mono_ns=clock.monotonic_ns)

    async def _fresh_token(self, why: str) -> Secret | None:
        return await self._ask_token(FreshToken(self._used, why))

    async def _ask_token(self, question: CurrentToken | FreshToken) -> Secret:
        """Ask until there is a token, or there will be none."""
        for _ in range(int(TOKEN_S / TOKEN_PAUSE_S)):
            try:
                token: Secret = await self._token.ask_async(question)
            except NoTokenYetError:
                await self.sleep(TOKEN_PAUSE_S)
            except (TokenRefusedError, ActorDead) as error:
                raise CredentialsRefused(str(error)) from None
            except Exception:  # noqa: BLE001 - the token actor's trouble, told by itself: it comes back, and we go on asking
                await self.sleep(TOKEN_PAUSE_S)
            else:
                return token
        raise GatewayUnreachable(f"no token could be obtained within {TOKEN_S:g} s")

    def _on_link(self, link: LinkState) -> None:
        self._health.offer(link)
        self._listener(link)

    # --- what comes in ------------------------------------------------------------

    def _emit(self, item: Intake) -> None:
        """Hand an item to the sequencer, or let it wait here in order."""
        if isinstance(item, Frames):
            if not len(item):
                return
            if self._thin != NOT_THIN:
                item, quotes, depth = thinned(item, self._thin)
                self._kept.merged_quotes += quotes
                self._kept.dropped_depth += depth
        if not self._backlog and self._sequencer.offer(item):
            return
        self._backlog.append(item)
        if len(self._backlog) >= BACKLOG:
            self._read(False)
        if self._pump is None or self._pump.done():
            self._pump = self.spawn(self._drain(), "backlog")

    def _tell_thinned(self) -> None:
        """Tell statistics what has given way so far. It is told again after each look at what is under pressure."""
        if self._statistics is not None:
            totals = {"quotes_merged": self._kept.merged_quotes, "depth_dropped": self._kept.dropped_depth}
            self._statistics.offer(Report(self.path, 0, totals))

    async def _drain(self) -> None:
        while self._backlog:
            await self._sequencer.put_async(self._backlog[0])
            self._backlog.popleft()
            if len(self._backlog) < BACKLOG // 2:
                self._read(True)

    def _read(self, on: bool) -> None:
        session = self._session
        for connection in session.connections if session is not None else ():
            connection.reading(on)
