"""The hub endpoints: negotiation, the WebSocket upgrade, and the reader of each connection.

One task a connection reads, another waits for its end; both belong to the request's handler, which does not return
before they have. While a connection is mute its reader takes nothing in, not even a WebSocket ping.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aiohttp import WSMsgType, web

from tickloom.scripts.gateway.auth import bearer, unauthorized
from tickloom.scripts.gateway.connection import HubConnection
from tickloom.scripts.gateway.engine import Engine
from tickloom.scripts.gateway.protocol import Invoked
from tickloom.scripts.gateway.rest import reply
from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.switches import Hub

_PENDING: Final = 1000
_PENDING_NS: Final = 60 * SECOND_NS
_CLOSE_S: Final = 2.0
"""How long a client has to answer a close frame."""
_TRANSPORTS: Final = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]


class Negotiated:
    """Connection ids given out by negotiation: each is good for one WebSocket, and for a minute."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._used: dict[str, str] = {}

    def add(self, token: str, name: str, now_ns: int) -> None:
        """Give out `token` for the connection `name`."""
        self._waiting[token] = (name, now_ns + _PENDING_NS)
        while len(self._waiting) > _PENDING:
            self._waiting.popitem(last=False)

    def claim(self, token: str, now_ns: int) -> str | int:
        """Return the connection's name, or 404 for an unknown token and 409 for one in use."""
        if token in self._used:
            return 409
        name, until = self._waiting.pop(token, ("", 0))
        if now_ns >= until:
            return 404
        self._used[token] = name
        return name

    def release(self, token: str) -> None:
        """Its connection has ended."""
        self._used.pop(token, None)


class Hubs:
    """The handlers of both hubs."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now
        self._negotiated: dict[Hub, Negotiated] = {"market": Negotiated(), "user": Negotiated()}

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints."""
        routes = []
        hubs: tuple[Hub, Hub] = ("market", "user")
        for hub in hubs:

            async def negotiate(request: web.Request, hub: Hub = hub) -> web.StreamResponse:
                return self._refused() or await self._negotiate(request, hub)

            async def upgrade(request: web.Request, hub: Hub = hub) -> web.StreamResponse:
                return self._refused() or await self._upgrade(request, hub)

            routes += [
                web.post(f"/hubs/{hub}/negotiate", negotiate),
                web.get(f"/hubs/{hub}", upgrade),
                web.post(f"/hubs/{hub}", upgrade),
            ]
        return routes

    def _refused(self) -> web.Response | None:
        faults = self._engine.faults
        if not faults.refusing(self._now()):
            return None
        self._engine.counters["refused_upgrade"] += 1
        status = faults.switches.refuse_status
        headers = {"Retry-After": f"{faults.switches.retry_after_s:g}"} if status in (429, 503) else {}
        return web.Response(status=status, headers=headers)

    async def _negotiate(self, request: web.Request, hub: Hub) -> web.StreamResponse:
        now = self._now()
        if isinstance(bearer(self._engine, request, now), str):
            return unauthorized()
        name, token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        try:
            version = min(int(request.query.get("negotiateVersion", "0")), 1)
        except ValueError:
            version = 0
        if version <= 0:
            # Version 0 knows no connection token: the id itself is what goes into the URL.
            self._negotiated[hub].add(name, name, now)
            return reply({"negotiateVersion": 0, "connectionId": name, "availableTransports": _TRANSPORTS})
        self._negotiated[hub].add(token, name, now)
        return reply(
            {
                "negotiateVersion": 1,
                "connectionId": name,
                "connectionToken": token,
                "availableTransports": _TRANSPORTS,
            }
        )

    async def _upgrade(self, request: web.Request, hub: Hub) -> web.StreamResponse:
        now = self._now()
        claims = bearer(self._engine, request, now)
        if isinstance(claims, str):
            return unauthorized()
        token = request.query.get("id", "")
        upgrading = request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"
        if not upgrading:
            return web.Response(status=404, text="No Connection with that ID") if token else _no_id()
        name: str | int | None = self._negotiated[hub].claim(token, now) if token else None
        if isinstance(name, int):
            return web.Response(status=name, text="No Connection with that ID" if name == 404 else "")
        # What is too big is for the session to judge, whose limit is lower than this one.
        socket = web.WebSocketResponse(
            compress=False, autoping=False, autoclose=False, max_msg_size=1 << 20, timeout=_CLOSE_S
        )
        try:
            await socket.prepare(request)
            transport = request.transport
            if transport is None:
                return socket
            connection = self._engine.connect(hub, claims, transport, now, name)
            await self._serve(connection, socket)
        finally:
            self._negotiated[hub].release(token)
        # The id is free by now: the close frame may be the last the client waits for before it tries again.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(socket.close(code=1000), _CLOSE_S)
        if transport.get_write_buffer_size():
            # It takes nothing any more, so it would never be done.
            transport.abort()
        return socket

    async def _serve(self, connection: HubConnection, socket: web.WebSocketResponse) -> None:
        reader = asyncio.create_task(self._read(connection, socket), name=f"read {connection.name}")
        ended = asyncio.create_task(connection.ended.wait(), name=f"end {connection.name}")
        try:
            await asyncio.wait({reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            await connection.audible.wait()
            ending = connection.ending
            if ending is not None and ending.how != "close":
                connection.cut(ending.how)
        finally:
            for task in (reader, ended):
                task.cancel()
            done = await asyncio.gather(reader, ended, return_exceptions=True)
            self._engine.disconnect(connection, self._now())
        if isinstance(done[0], Exception) and not isinstance(done[0], ConnectionError):
            # a defect of ours, not a link that went
            raise done[0]

    async def _read(self, connection: HubConnection, socket: web.WebSocketResponse) -> None:
        while True:
            message = await socket.receive()
            await connection.audible.wait()
            match message.type:
                case WSMsgType.TEXT:
                    self._take(connection, message.data.encode())
                case WSMsgType.BINARY:
                    self._take(connection, message.data)
                case WSMsgType.PING:
                    await socket.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case _:
                    # closed by the client, or the link is gone
                    return

    def _take(self, connection: HubConnection, data: bytes) -> None:
        now = self._now()
        for event in connection.session.receive(data, now):
            if isinstance(event, Invoked):
                self._engine.invoke(connection, event)
            else:
                self._engine.opened(connection)
        connection.flush(now)


def _no_id() -> web.Response:
    return web.Response(status=400, text="Connection ID required")
