"""The token actor: does what the token's life says, and is where every connection gets its token from.

Its state is a `Life`, kept by its place in the tree; the token in it is a `Secret` and leaves this process in one
header only. An ask that cannot be answered yet is refused with `NoTokenYetError`, to be asked again: the control
lane stays free for the alarm that brings the token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import aiohttp
import msgspec

from tickloom.actors.connection.address import open_sockets
from tickloom.actors.connection.errors import (
    AuthenticationRefused,
    CredentialsRefused,
    GatewayError,
    SessionRefused,
)
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.actors.token.core import (
    Begin,
    Command,
    Due,
    Event,
    Failed,
    GiveUp,
    Life,
    Login,
    Lost,
    Obtained,
    Phase,
    Policy,
    Publish,
    Refused,
    Rejected,
    Renew,
    SessionOver,
    WakeAt,
    step,
)
from tickloom.actors.token.messages import (
    CurrentToken,
    FreshToken,
    NoTokenYetError,
    Renewed,
    TokenRefusedError,
)
from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.messages.control import ClockMeasured, TokenChanged
from tickloom.messages.intake import Intake
from tickloom.messages.market import NS
from tickloom.messages.reports import ClockState, TokenState
from tickloom.supervision import NOTHING, ActorContext, AsyncActor, Exit, Ref


def measured(bounds: tuple[int, int], now_ns: int) -> ClockMeasured:
    """Return the record of bounds of the gateway's clock (theirs minus ours), for those who fold the log."""
    low, high = bounds
    return ClockMeasured(recv_ns=now_ns, offset_ns=(low + high) // 2, uncertainty_ns=(high - low + 1) // 2)


def clock_state(bounds: tuple[int, int]) -> ClockState:
    """Return what bounds of the gateway's clock (theirs minus ours) say of ours."""
    low, high = bounds
    return ClockState(-high, -low)


class Alarm(msgspec.Struct, frozen=True):
    """What the actor tells itself when the life asked to be woken. Only the latest one counts."""

    number: int


class TokenActor(AsyncActor):
    """Holds the token.

    Args:
        credentials: what logs in.
        token: one that was obtained before the start; None: log in.
        hubs: told of every renewal.
        health: told of every change.
        record: takes `TokenChanged` for the log; must not block.
        policy: when to renew.
        clock: how far our clock is from the gateway's, as far as it was measured before the start.
        open_session, api_url, patience: how to reach the gateway, and how long to wait for it.
    """

    def __init__(
        self,
        context: ActorContext,
        *,
        credentials: Credentials,
        token: Secret | None,
        hubs: Sequence[Ref],
        health: Ref,
        record: Callable[[Intake], object],
        policy: Policy,
        api_url: str,
        open_session: Callable[[], aiohttp.ClientSession],
        clock: ClockState | None = None,
        patience: Patience | None = None,
        rng: Random | None = None,
    ) -> None:
        super().__init__(context)
        kept = context.recall()
        self._token_life: Life = Life() if kept is NOTHING else kept
        self._first = token if kept is NOTHING else None
        self._credentials = credentials
        self._hubs = tuple(hubs)
        self._health = health
        self._record = record
        self._policy = policy
        self._api_url = api_url
        self._open_session = open_session
        self._clock_state = clock
        self._patience = patience or Patience()
        self._rng = rng or Random()  # noqa: S311 - spreads renewals, guards nothing
        self._http: aiohttp.ClientSession | None = None
        self._rest: RestClient | None = None
        self._alarm = 0
        self._cancel_alarm: Callable[[], None] | None = None
        self._refusal: GiveUp | None = None

    # --- hooks ------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Take the token that is there, or log in; after a crash, go on where the life stood."""
        self._http = self._open_session()
        self._rest = RestClient(self._api_url, self._http, patience=self._patience)
        if self._clock_state is not None:
            self._health.offer(self._clock_state)
        life = self._token_life
        if life.phase is Phase.NONE:
            self._apply(Begin(), act=self._first is None)
            if self._first is not None:
                self._apply(Obtained(self._first))
        elif life.phase is Phase.HELD:
            self._do(WakeAt(life.expires_ns - (life.expires_ns - life.obtained_ns) // 4))
        elif life.phase is Phase.RENEWING and life.token is not None:
            self._do(Renew(life.token))
        elif life.phase is not Phase.REFUSED:
            self._do(Login())

    async def on_control(self, message: Any) -> Any:
        """Give the token, or wake up."""
        match message:
            case Alarm(number):
                if number == self._alarm:
                    self._apply(Due())
                return None
            case CurrentToken():
                return self._token()
            case FreshToken(refused, _):
                if refused is not None and self._token_life.token == refused:
                    self._apply(Rejected(refused))
                return self._token()
        return self.unhandled(message)

    async def on_exit(self, reason: Exit) -> None:
        """Close the HTTP session."""
        if self._http is not None:
            await self._http.close()

    def holds(self) -> dict[str, int]:
        """Its tasks, and the sockets to the gateway."""
        return super().holds() | {"sockets": open_sockets(self._http)}

    # --- the life ------------------------------------------------------------

    def _token(self) -> Secret:
        if self._refusal is not None:
            raise TokenRefusedError(self._refusal.sentence)
        if self._token_life.token is None:
            raise NoTokenYetError("there is no token at the moment; it is being obtained")
        return self._token_life.token

    def _apply(self, event: Event, *, act: bool = True) -> None:
        now = self.context.clock.wall_ns()
        self._token_life, commands = step(self._policy, self._token_life, event, now, self._rng.random())
        self.context.commit(self._token_life)
        for command in commands if act else ():
            self._do(command)

    def _do(self, command: Command) -> None:
        match command:
            case Login():
                self.spawn(self._log_in(), "login")
            case Renew(token):
                self.spawn(self._renew(token), "renew")
            case WakeAt(at_ns):
                self._wake_at(at_ns)
            case Publish(token, expires_ns, how):
                self._say(TokenState(expires_ns))
                self._record(TokenChanged(recv_ns=self.context.clock.wall_ns(), expires_ns=expires_ns, how=how))
                for hub in self._hubs:
                    hub.tell(Renewed(token))
            case Lost(sentence):
                self._say(TokenState(self._token_life.expires_ns, sentence))
            case GiveUp():
                self._refusal = command
                self._say(TokenState(0, command.sentence))

    def _wake_at(self, at_ns: int) -> None:
        if self._cancel_alarm is not None:
            self._cancel_alarm()
        self._alarm += 1
        delay = max(at_ns - self.context.clock.wall_ns(), 0) / NS
        self._cancel_alarm = self.context.send_after(delay, Alarm(self._alarm))

    def _say(self, state: TokenState) -> None:
        self._health.offer(state)

    async def _log_in(self) -> None:
        assert self._rest is not None
        await self._obtain(self._rest.login(self._credentials.username, self._credentials.api_key))

    async def _renew(self, token: Secret) -> None:
        assert self._rest is not None
        await self._obtain(self._rest.validate(token))

    async def _measured(self, request: Any) -> Any:
        """Await a request, and tell what its answer says of our clock."""
        assert self._rest is not None
        try:
            return await request
        finally:
            bounds = self._rest.skew.bounds
            if bounds is not None:
                self._health.offer(clock_state(bounds))
                self._record(measured(bounds, self.context.clock.wall_ns()))

    async def _obtain(self, request: Any) -> None:
        assert self._rest is not None
        try:
            token: Secret = await self._measured(request)
        except CredentialsRefused as error:
            self._apply(Refused(error.code, str(error)))
        except SessionRefused:
            self._apply(SessionOver())
        except AuthenticationRefused as error:
            # a renewal refused by HTTP status is over as well: a new log-in is needed
            over = self._token_life.phase is Phase.RENEWING
            self._apply(SessionOver() if over else Failed(str(error), error.retry_after))
        except GatewayError as error:
            self._apply(Failed(str(error), error.retry_after))
        else:
            self._apply(Obtained(token, self._rest.skew.offset_ns or 0))
