"""Reaching a hub: settings, negotiation, the WebSocket upgrade. Every transport error leaves here as one of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal, TypeAlias, TypeVar

import aiohttp
import msgspec

from tickloom.actors.connection.address import checked
from tickloom.actors.connection.errors import place, translated
from tickloom.actors.connection.negotiate import Route, authorization, negotiate
from tickloom.config.secrets import Secret
from tickloom.messages.signalr import Limits

T = TypeVar("T")
Socket: TypeAlias = aiohttp.ClientWebSocketResponse[Literal[False]]


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a hub. Times in seconds, sizes in bytes.

    `auth_transport` "query" puts the token into the URL, where others log it: by explicit choice alone. `negotiate`
    asks first; `stateful` (which negotiates) resumes a cut session where the server offers it, for at most
    `resume_within`. `ping_interval` 0 sends no WebSocket pings. A frame above `max_frame` ends the connection; `batch`
    is how many frames are handed over at once at most.
    """

    url: str
    auth_transport: Literal["header", "query"] = "header"
    negotiate: bool = False
    stateful: bool = False
    limits: Limits = Limits()
    connect_timeout: float = 10.0
    invoke_timeout: float = 15.0
    close_timeout: float = 3.0
    ping_interval: float = 5.0
    ping_patience: float = 10.0
    resume_within: float = 20.0
    max_frame: int = 64 * 1024 * 1024
    batch: int = 512


class Dialer:
    """Opens sockets to one hub. The first call may negotiate; later ones go where the first was sent (to resume)."""

    def __init__(self, settings: HubSettings, token: Secret | None, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.where = place(settings.url)
        self._token = token
        self._session = session
        self._route: Route | None = None

    async def dial(self) -> Socket:
        """Return an open WebSocket, before any handshake of SignalR.

        Raises:
            InsecureAddress: the address is one a token must not be sent to.
            AuthenticationRefused, CertificateRefused, GatewayUnreachable: as their names say.
        """
        if self._route is None:
            self._route = await self._find()
        return await translated(self._timed(self._upgrade(self._route)), self.where)

    @property
    def stateful(self) -> bool:
        """Whether the server agreed to stateful reconnect."""
        return self._route is not None and self._route.stateful

    async def _find(self) -> Route:
        settings = self.settings
        url = checked(settings.url, "the hub")
        if not settings.negotiate and not settings.stateful:
            return Route(url, self._token)
        work = negotiate(self._session, url, self._token, transport=settings.auth_transport, stateful=settings.stateful)
        return await translated(self._timed(work), self.where)

    async def _timed(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self.settings.connect_timeout):
            return await work

    async def _upgrade(self, route: Route) -> Socket:
        settings = self.settings
        url = route.url if route.connection is None else route.url.update_query(id=route.connection.reveal())
        socket: Socket = await self._session.ws_connect(
            url,
            **authorization(route.token, settings.auth_transport),
            autoping=False,  # the reader answers pings and times pongs itself
            heartbeat=None,
            compress=0,
            max_msg_size=settings.max_frame,
            decode_text=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=settings.close_timeout),
        )
        return socket


async def hang_up(socket: Socket | None, patience: float) -> None:
    """Close a socket and wait until it is, for as long as `patience` seconds. That it is gone already is no news."""
    if socket is None or socket.closed:
        return
    try:
        async with asyncio.timeout(patience):
            await socket.close()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return
