"""The gateway without its sockets: the market, the faults, the tokens and the connections, moved on by `beat`.

A beat lets time pass to a given moment and hands every connection what has fallen due. The engine reads no clock; it
belongs to the event loop's thread. All collections are bounded: connections by the sockets, past ones by `PAST`.
"""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from tickloom.scripts.gateway.boards import DEPTH, QUOTE, Boards, wanted
from tickloom.scripts.gateway.connection import HubConnection, TradeSubscription
from tickloom.scripts.gateway.delivery import Ledger, TradeWire
from tickloom.scripts.gateway.faults import Abort, Action, Burst, Faults, Logout, Mute, Rate, Revoke, Unmute
from tickloom.scripts.gateway.frames import invocation
from tickloom.scripts.gateway.limits import SlidingWindow
from tickloom.scripts.gateway.protocol import HubSession, Invoked, MethodTable, State, Timing
from tickloom.scripts.gateway.settings import GatewaySettings
from tickloom.scripts.gateway.shaping import Cursor
from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.switches import ChaosError, ChaosRequest, Hub
from tickloom.scripts.gateway.ticks import Market
from tickloom.scripts.gateway.tokens import Claims, TokenOffice
from tickloom.scripts.gateway.users import ACCOUNTS, UserStream, account_payload, wrapped

PAST: Final = 500
"""Closed connections whose record is kept."""
_USER_EVENTS_AT_ONCE: Final = 1000

_STREAMS: Final = {
    "Accounts": "GatewayUserAccount",
    "Orders": "GatewayUserOrder",
    "Positions": "GatewayUserPosition",
    "Trades": "GatewayUserTrade",
}
METHODS: Final[dict[Hub, MethodTable]] = {
    "market": MethodTable(
        {
            f"{verb}Contract{what}": (str,)
            for verb in ("Subscribe", "Unsubscribe")
            for what in ("Trades", "Quotes", "MarketDepth")
        }
    ),
    "user": MethodTable(
        {
            f"{verb}{what}": () if what == "Accounts" else (int,)
            for verb in ("Subscribe", "Unsubscribe")
            for what in _STREAMS
        }
    ),
}


class Engine:
    """Everything the gateway knows and does, but for HTTP."""

    def __init__(self, settings: GatewaySettings, market: Market, token_secret: bytes, now_ns: int) -> None:
        self.settings = settings
        self.market = market
        self.specs = {spec.id: spec for spec in market.specs}
        self.tokens = TokenOffice(token_secret)
        self.faults = Faults(settings.switches())
        limited = settings.rate_limits
        self.history_limit = SlidingWindow(50 if limited else 0, 30.0)
        self.other_limit = SlidingWindow(200 if limited else 0, 60.0)
        self.users = UserStream(market.specs, market.start_ns, round(settings.user_event_s * SECOND_NS))
        self.connections: dict[str, HubConnection] = {}
        self.on_arrival: Callable[[], object] = lambda: None
        """Called when there is a connection more."""
        self.past: deque[HubConnection] = deque(maxlen=PAST)
        self.counters: Counter[str] = Counter()
        self._wire = TradeWire(market, settings.chaos_seed)
        self.boards = Boards(market, settings.seed, now_ns)
        self.busy = False
        """Whether ticks happened in the last beat."""
        self._next_trades = now_ns
        self._user_next = self.users.due(now_ns) + 1
        self._slow_ns = round(settings.slow_client_s * SECOND_NS)
        self._timing = Timing(
            round(settings.keepalive_s * SECOND_NS),
            round(settings.client_timeout_s * SECOND_NS),
            round(settings.handshake_timeout_s * SECOND_NS),
        )

    # -- connections

    def session(self, hub: Hub, now_ns: int) -> HubSession:
        """Return the conversation for a new connection."""
        glue = self.faults.switches.glue_handshake
        return HubSession(METHODS[hub], self._timing, now_ns, glue_handshake=glue)

    def connect(self, hub: Hub, claims: Claims, transport: Any, now_ns: int, name: str | None = None) -> HubConnection:
        """Take in a new connection on its transport."""
        name = name or secrets.token_urlsafe(16)
        connection = HubConnection(name, hub, claims, self.session(hub, now_ns), transport, now_ns, self._slow_ns)
        if self.faults.muted(hub, now_ns):
            connection.mute()
        self.connections[name] = connection
        self.on_arrival()
        self.counters[f"connected_{hub}"] += 1
        return connection

    def opened(self, connection: HubConnection) -> None:
        """The handshake is done."""
        if self.faults.take("connect_error"):
            connection.session.reject("connect_error")

    def disconnect(self, connection: HubConnection, now_ns: int) -> None:
        """Forget a connection; what it was sent stays known."""
        if self.connections.pop(connection.name, None) is not None:
            connection.closed_ns = now_ns
            reason = connection.ending.reason if connection.ending else "client_gone"
            self.counters[f"ended_{reason}"] += 1
            self.past.append(connection)

    # -- hub methods

    def invoke(self, connection: HubConnection, call: Invoked) -> None:
        """Carry out a hub method and answer it."""
        subscribe = call.method.startswith("Subscribe")
        if subscribe and self.faults.take("subscribe_error"):
            return connection.session.complete(call, "subscribe_error")
        if connection.hub == "market":
            contract = call.arguments[0] or ""
            if subscribe and contract not in self.specs and self.settings.unknown_contract == "error":
                return connection.session.complete(call, f"Contract '{contract}' not found.")
            connection.session.complete(call)
            if contract in self.specs:
                self._market_method(connection, subscribe, call.method, contract)
            return None
        connection.session.complete(call)
        return self._user_method(connection, subscribe, call)

    def _market_method(self, connection: HubConnection, subscribe: bool, method: str, contract: str) -> None:
        if method.endswith("Trades"):
            if not subscribe:
                connection.trades.pop(contract, None)
            elif contract not in connection.trades:
                ledger = connection.ledgers.setdefault(contract, Ledger(contract))
                connection.trades[contract] = TradeSubscription(Cursor(self.market.last(contract) + 1), ledger)
                self.market.begin()
        else:
            target = QUOTE if method.endswith("Quotes") else DEPTH
            if not subscribe:
                wanted(connection, target).pop(contract, None)
            elif contract not in wanted(connection, target):
                self.boards.begin(connection, target, contract, self._of("market"))

    def _user_method(self, connection: HubConnection, subscribe: bool, call: Invoked) -> None:
        target = _STREAMS[call.method.removeprefix("Unsubscribe").removeprefix("Subscribe")]
        key = (target, call.arguments[0] if call.arguments else 0)
        if not subscribe:
            connection.user_events.discard(key)
            return
        connection.user_events.add(key)
        if target == "GatewayUserAccount":
            # The accounts as they are, at once: one plain, the others wrapped.
            for account in ACCOUNTS:
                payload = account_payload(account)
                connection.session.send(invocation(target, payload if account == ACCOUNTS[0] else wrapped(payload)))

    # -- faults

    def chaos(self, request: ChaosRequest, now_ns: int) -> None:
        """Set switches and do what the request asks.

        Raises:
            ChaosError: it names a contract that is not served; then nothing was done.
        """
        named = [request.contract] if request.contract is not None else []
        named += list(request.tick_rate) if isinstance(request.tick_rate, dict) else []
        for contract in named:
            if contract not in self.specs:
                raise ChaosError(f"contract {contract!r} is not served; there are {', '.join(self.specs)}")
        for action in self.faults.apply(request, now_ns):
            self._act(action, now_ns)
        for connection in self._of(None):
            connection.flush(now_ns)

    def _of(self, hub: Hub | None) -> list[HubConnection]:
        return [c for c in self.connections.values() if hub is None or c.hub == hub]

    def _act(self, action: Action, now_ns: int) -> None:
        match action:
            case Burst(count, contract):
                self.market.burst(count, contract, now_ns)
            case Rate(rate, contract):
                self.market.set_rate(rate, contract, now_ns)
            case Revoke():
                self.tokens.revoke_all()
            case Logout(arguments, hub):
                for connection in self._of(hub):
                    connection.session.send(invocation("GatewayLogout", *arguments))
            case Mute(hub):
                for connection in self._of(hub):
                    connection.mute()
            case Unmute(drop):
                for connection in self._of(None):
                    connection.unmute(drop=drop)
            case Abort(how, hub):
                for connection in self._of(hub):
                    if how == "hub":
                        self._close(connection, "abort")
                    else:
                        connection.end(how, "abort")

    def _close(self, connection: HubConnection, reason: str, *, invite: bool = False) -> None:
        """End a connection with a close message, as the server itself would."""
        session = connection.session
        if session.state is State.OPEN:
            session.close(allow_reconnect=invite or self.faults.switches.close_allow_reconnect)
            session.reason = reason
        else:
            connection.end("close", reason)

    # -- the passing of time

    def beat(self, now_ns: int) -> bool:
        """Let time pass to `now_ns` and send what is due; True if there is more to send at once."""
        self._wire.begin()
        self.busy = bool(self.market.advance(now_ns))
        switches = self.faults.switches
        for action in self.faults.poll(now_ns):
            self._act(action, now_ns)
        connections = self._of(None)
        roomy = [c for c in connections if c.session.state is State.OPEN and c.room(now_ns)]
        more = False
        if not self.faults.stalled(now_ns):
            if now_ns >= self._next_trades:
                for connection in roomy:
                    more |= self._trades(connection)
                    # at once: the ticks were stamped when this beat began
                    connection.flush(now_ns)
                if not more:
                    self._next_trades = now_ns + round(switches.coalesce_ms * 1e6)
            self.boards.send(connections, roomy, switches, now_ns)
        elif switches.stall_drop:
            for connection in connections:
                self._drop(connection)
        self._user_stream(roomy, now_ns)
        for connection in connections:
            self._keep(connection, now_ns)
            connection.flush(now_ns)
        return more

    def _trades(self, connection: HubConnection) -> bool:
        more = False
        switches = self.faults.switches
        for contract, subscription in connection.trades.items():
            cursor, last = subscription.cursor, self.market.last(contract)
            if cursor.next > last and (cursor.held is None or switches.out_of_order_pct):
                continue
            try:
                chunk = self._wire.chunk(contract, cursor, switches)
            except LookupError:
                # It lags by more than is kept: what it misses can no longer be told, so it must not go on.
                connection.end("reset", "fell_behind")
                return False
            subscription.cursor = chunk.cursor
            subscription.ledger.sent(chunk)
            if chunk.data:
                connection.add(chunk.data)
            more |= chunk.cursor.next <= last
        return more

    def _drop(self, connection: HubConnection) -> None:
        for contract, subscription in connection.trades.items():
            cursor, last = subscription.cursor, self.market.last(contract)
            if cursor.next <= last:
                subscription.ledger.dropped(cursor.next, last)
                subscription.cursor = cursor._replace(next=last + 1)

    def _user_stream(self, roomy: list[HubConnection], now_ns: int) -> None:
        due = self.users.due(now_ns)
        if due - self._user_next > _USER_EVENTS_AT_ONCE:
            self._user_next = due - _USER_EVENTS_AT_ONCE
        listeners = [c for c in roomy if c.user_events]
        while self._user_next <= due:
            event = self.users.at(self._user_next)
            self._user_next += 1
            for connection in listeners:
                if not connection.user_events.isdisjoint({(event.target, event.account), (event.target, 0)}):
                    connection.session.send(invocation(event.target, event.payload))

    def _keep(self, connection: HubConnection, now_ns: int) -> None:
        """See to a connection's time-outs and its end."""
        connection.session.poll(now_ns)
        if connection.ending is not None or connection.session.state is State.ENDED:
            return
        switches = self.faults.switches
        if switches.close_on_expiration and now_ns >= connection.claims.expires_ns:
            self._close(connection, "token_expired", invite=True)
        elif switches.kill_after_s and now_ns - connection.opened_ns >= switches.kill_after_s * SECOND_NS:
            self._close(connection, "kill_after")
