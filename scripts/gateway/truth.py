"""What the gateway knows of itself: the ticks it emitted, what it sent to whom, and its fault switches.

No token is wanted, so these answer to the loopback interface alone, and only under a loopback name (a page in a
browser cannot reach them by a name of its own).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec
from aiohttp import web

from tickloom.scripts.gateway.connection import HubConnection
from tickloom.scripts.gateway.engine import Engine
from tickloom.scripts.gateway.frames import tick_stamp
from tickloom.scripts.gateway.rest import reply
from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.switches import NAMES, ChaosError, parse_chaos_json

_PIECE: Final = 2000
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def tick_rows(engine: Engine, contract: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield the ticks `first` to `last` as `/truth` shows them."""
    ticks = engine.market.ticks(contract, first, last)
    for at, stamp in enumerate(ticks.stamp):
        index = first + at
        yield {
            "i": index,
            "t_ns": stamp,
            "timestamp": tick_stamp(index, stamp),
            "price": ticks.price[at],
            "volume": ticks.size[at],
            "type": ticks.side[at],
        }


class Truth:
    """The handlers, over an engine."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints."""
        pages = {
            "/truth": self._ticks,
            "/truth/last": self._last,
            "/truth/bars": self._bars,
            "/truth/quote": self._quote,
            "/truth/book": self._book,
            "/truth/sent": self._sent,
            "/truth/connections": self._connections,
            "/truth/user": self._user,
            "/truth/info": self._info,
            "/chaos": self._chaos_state,
            "/healthz": self._health,
        }
        routes = [web.get(path, self._local(handler)) for path, handler in pages.items()]
        return [*routes, web.post("/chaos", self._local(self._chaos))]

    def _local(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def local(request: web.Request) -> web.StreamResponse:
            if not (_is_loopback(request.remote or "") and _is_loopback(request.host)):
                return reply({"error": "only for the loopback interface"}, 403)
            return await handler(request)

        return local

    def _contract(self, request: web.Request) -> str:
        contract = request.query.get("contract", "")
        if contract not in self._engine.specs:
            detail = {"error": f"no contract {contract!r}", "contracts": list(self._engine.specs)}
            raise web.HTTPNotFound(text=msgspec.json.encode(detail).decode(), content_type="application/json")
        return contract

    @staticmethod
    def _number(request: web.Request, name: str, otherwise: int) -> int:
        try:
            return int(request.query.get(name, otherwise))
        except ValueError:
            raise web.HTTPBadRequest(text=f"{name} must be a whole number") from None

    async def _ticks(self, request: web.Request) -> web.StreamResponse:
        """Ticks `from` to `to`, both included, as NDJSON; never past the last one emitted or before the oldest kept."""
        contract, market = self._contract(request), self._engine.market
        to = min(self._number(request, "to", market.last(contract)), market.last(contract))
        first = max(self._number(request, "from", max(0, to - 99)), market.oldest(contract))
        response = web.StreamResponse(headers=_NDJSON)
        await response.prepare(request)
        while first <= to:
            until = min(to, first + _PIECE - 1)
            rows = tick_rows(self._engine, contract, first, until)
            await response.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
            first = until + 1
        await response.write_eof()
        return response

    async def _last(self, request: web.Request) -> web.StreamResponse:
        contract = self._contract(request)
        last = self._engine.market.last(contract)
        if last < self._engine.market.oldest(contract):
            raise web.HTTPNotFound(text="no tick yet")
        return reply(next(tick_rows(self._engine, contract, last, last)))

    async def _bars(self, request: web.Request) -> web.StreamResponse:
        """Bars that open in [from_ns, to_ns), oldest first; the last one may be incomplete."""
        contract, now = self._contract(request), self._now()
        width = max(1, self._number(request, "unit_seconds", 60))
        begin = -(-self._number(request, "from_ns", self._engine.market.start_ns) // SECOND_NS)
        end = min(self._number(request, "to_ns", now), now) // SECOND_NS + 1
        bars = self._engine.market.bars(contract).roll(begin, end, 1, width)
        return reply(
            [
                {
                    "t_ns": bar.opens * SECOND_NS,
                    "o": bar.open,
                    "h": bar.high,
                    "l": bar.low,
                    "c": bar.close,
                    "v": bar.volume,
                    "first_i": bar.first,
                    "last_i": bar.last,
                    "complete": bar.closes * SECOND_NS <= now,
                }
                for bar in bars
            ]
        )

    async def _quote(self, request: web.Request) -> web.StreamResponse:
        return reply(self._engine.boards.quote(self._contract(request)))

    async def _book(self, request: web.Request) -> web.StreamResponse:
        return reply(self._engine.boards.book(self._contract(request)))

    def _all(self) -> list[HubConnection]:
        return sorted([*self._engine.past, *self._engine.connections.values()], key=lambda c: c.opened_ns)

    async def _sent(self, request: web.Request) -> web.StreamResponse:
        """What was handed to each market connection, newest connection last."""
        contract, name = request.query.get("contract"), request.query.get("connection")
        return reply(
            [
                {
                    "connection": connection.name,
                    "contract": ledger.contract,
                    "token": connection.claims.fingerprint,
                    "opened_ns": connection.opened_ns,
                    "closed_ns": connection.closed_ns,
                    "sent": ledger.report(),
                }
                for connection in self._all()
                if not name or connection.name == name
                for ledger in connection.ledgers.values()
                if not contract or ledger.contract == contract
            ]
        )

    async def _connections(self, request: web.Request) -> web.StreamResponse:
        """Who is connected and subscribed to what; with `past=1` those that have ended too, and why."""
        shown = self._all() if request.query.get("past") else list(self._engine.connections.values())
        return reply(
            [
                {
                    "connection": connection.name,
                    "hub": connection.hub,
                    "user": connection.claims.user,
                    "token": connection.claims.fingerprint,
                    "token_exp": connection.claims.expires_ns // SECOND_NS,
                    "opened_ns": connection.opened_ns,
                    "closed_ns": connection.closed_ns,
                    "ending": connection.ending.reason if connection.ending else None,
                    "trades": list(connection.trades),
                    "quotes": list(connection.quotes),
                    "depth": list(connection.depth),
                    "user_events": sorted(f"{target}:{account}" for target, account in connection.user_events),
                }
                for connection in shown
            ]
        )

    async def _user(self, request: web.Request) -> web.StreamResponse:
        """Events of the user stream, `from` to `to`, as NDJSON."""
        users = self._engine.users
        to = min(self._number(request, "to", 1 << 62), users.due(self._now()))
        first = max(0, self._number(request, "from", max(0, to - 9999)))
        events = (users.at(n) for n in range(first, min(to, first + 9999) + 1))
        rows = (
            {"n": event.n, "target": event.target, "account": event.account, "payload": event.payload}
            for event in events
        )
        return web.Response(body=b"".join(msgspec.json.encode(row) + b"\n" for row in rows), headers=_NDJSON)

    async def _info(self, request: web.Request) -> web.StreamResponse:
        engine = self._engine
        return reply(
            {
                "pid": os.getpid(),
                "start_ns": engine.market.start_ns,
                "now_ns": self._now(),
                "chaos_seed": engine.settings.chaos_seed,
                "connections": len(engine.connections),
                "counters": {**engine.counters, "passed_over": engine.boards.passed_over},
                **engine.market.describe(),
            }
        )

    async def _chaos_state(self, request: web.Request) -> web.StreamResponse:
        return reply(self._engine.faults.state(self._now()))

    async def _chaos(self, request: web.Request) -> web.StreamResponse:
        try:
            self._engine.chaos(parse_chaos_json(await request.read()), self._now())
        except ChaosError as error:
            return reply({"error": str(error), "switches": NAMES}, 400)
        return reply(self._engine.faults.state(self._now()))

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return reply({"ok": True})
