"""SignalR's negotiation: where the hub really is, under which connection token, and whether a session can be resumed.

It may be skipped, and is by default: one round trip less, and the connection token stays out of the URL. It is needed
for a gateway behind a redirecting service and for stateful reconnect.

Source: dotnet/aspnetcore `src/SignalR/docs/specs/TransportProtocols.md`.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
from yarl import URL

from tickloom.actors.connection.address import checked
from tickloom.actors.connection.errors import GatewayError, GatewayUnreachable, place, refused_status, retry_after
from tickloom.config.secrets import Secret

MAX_REDIRECTS = 8
_MAX_ANSWER = 64 * 1024


class Route(msgspec.Struct, frozen=True):
    """Where to open the WebSocket, and with what. `connection` travels as `?id=`; None when nothing was negotiated."""

    url: URL
    token: Secret | None
    connection: Secret | None = None
    stateful: bool = False


class _Transport(msgspec.Struct):
    transport: str = ""


class _Answer(msgspec.Struct):
    """`repr` would show the tokens: it never leaves this module."""

    url: str | None = None
    accessToken: str | None = None  # noqa: N815 - the wire's names
    error: str | None = None
    connectionToken: str | None = None  # noqa: N815
    connectionId: str | None = None  # noqa: N815
    availableTransports: list[_Transport] | None = None  # noqa: N815
    useStatefulReconnect: bool = False  # noqa: N815

    def __repr__(self) -> str:
        return "_Answer(…)"


def authorization(token: Secret | None, transport: str) -> dict[str, Any]:
    """Return the request arguments that carry the token: as a header, or in the query when that was chosen."""
    if token is None:
        return {}
    if transport == "query":
        return {"params": {"access_token": token.reveal()}}
    return {"headers": {"Authorization": f"Bearer {token.reveal()}"}}


async def negotiate(
    session: aiohttp.ClientSession, url: URL, token: Secret | None, *, transport: str, stateful: bool
) -> Route:
    """Ask the hub at `url` where to connect, following at most `MAX_REDIRECTS` redirects.

    Raises:
        AuthenticationRefused: the token was refused.
        GatewayUnreachable: an error answer, too many redirects, or no WebSockets there.
        InsecureAddress: a redirect to where a token must not be sent.
    """
    for _ in range(MAX_REDIRECTS + 1):
        answer = await _ask(session, url, token, transport, stateful)
        where = place(url)
        if isinstance(answer, GatewayError):
            raise answer
        if answer.error is not None:
            raise GatewayUnreachable(f"{where} refused to negotiate: {answer.error[:200]}")
        if answer.url is None:
            return _route(answer, url, token, where)
        redirected = URL(answer.url)
        # a redirect may carry parameters of its own; they are kept, and the rest is held to our rules
        checked(redirected.with_query(None), f"the hub {where} redirects to")
        url = redirected
        if answer.accessToken:
            token = Secret(answer.accessToken)
    raise GatewayUnreachable(f"{place(url)} was redirected to more than {MAX_REDIRECTS} times")


def _route(answer: _Answer, url: URL, token: Secret | None, where: str) -> Route:
    transports = answer.availableTransports
    if transports is not None and not any(each.transport == "WebSockets" for each in transports):
        raise GatewayUnreachable(f"{where} offers no WebSockets, and nothing else is spoken here")
    connection = answer.connectionToken or answer.connectionId
    if not connection:
        raise GatewayUnreachable(f"{where} negotiated without a connection token")
    return Route(url, token, Secret(connection), answer.useStatefulReconnect)


async def _ask(
    session: aiohttp.ClientSession, url: URL, token: Secret | None, transport: str, stateful: bool
) -> _Answer | GatewayError:
    query = {"negotiateVersion": "1"} | ({"useStatefulReconnect": "true"} if stateful else {})
    target = (url / "negotiate").update_query(url.query).update_query(query)
    if target.scheme in ("ws", "wss"):
        target = target.with_scheme("https" if target.scheme == "wss" else "http")
    async with session.post(target, allow_redirects=False, **authorization(token, transport)) as response:
        if response.status != 200:
            wait = retry_after(response.headers.get("Retry-After"))
            return refused_status(response.status, place(target), wait)
        body = await response.content.read(_MAX_ANSWER)
    try:
        return msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return GatewayUnreachable(f"{place(target)} gave an answer that is no negotiation")
