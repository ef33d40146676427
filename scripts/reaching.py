"""Can the gateway be reached? The steps of a session's start, one by one, each a finding of its own: name, TLS, ping,
log-in, hubs.

A step that needs another one which failed is left out: the first failure is the one to mend. Nothing is subscribed to,
and every connection is closed again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp
from yarl import URL

from tickloom.actors.connection.address import checked, is_loopback, open_session, tls_context
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.errors import (
    GatewayError,
    GatewayUnreachable,
    InsecureAddress,
    refused_status,
    translate,
    translated,
)
from tickloom.actors.connection.rest import Patience, RestClient
from tickloom.actors.connection.skew import ClockSkew
from tickloom.actors.connection.transport import HubConnection
from tickloom.actors.token.core import expiry_ns
from tickloom.config.credentials import Credentials
from tickloom.config.secrets import Secret
from tickloom.config.sections import GatewaySettings
from tickloom.messages.market import NS
from tickloom.scripts.findings import Finding, failure, ok, warning

STEP_S: Final = 10.0
"""Longest a step may take."""

PINGS: Final = 3
"""Answers from which the clock's offset is taken: each has whole seconds only, together they say more."""

SKEW_NS: Final = 2 * NS
"""A clock that is further off is worth a warning: stamps are judged against it."""

CERTIFICATE_DAYS: Final = 14
"""A certificate that ends sooner is worth a warning."""


async def reach(
    gateway: GatewaySettings, credentials: Credentials | None, wall_ns: Callable[[], int] = time.time_ns
) -> AsyncIterator[Finding]:
    """Yield what is found on the way to the gateway, step by step. `wall_ns` is this machine's clock."""
    urls = {"api": gateway.api_url, "market hub": gateway.market_hub_url}
    if gateway.accounts:
        urls["user hub"] = gateway.user_hub_url
    reachable: set[str] = set()
    seen: dict[tuple[str, int], bool] = {}
    for name, text in urls.items():
        try:
            url = checked(text, f"the {name}")
        except InsecureAddress as error:
            yield failure(name, error)
            continue
        place = (url.host or "", url.port or 0)
        if place not in seen:
            seen[place] = True
            async for finding in _host(url, gateway.ca_file, wall_ns):
                seen[place] &= finding.status != "failure"
                yield finding
        if seen[place]:
            reachable.add(name)
    if "api" not in reachable:
        return
    async with open_session(gateway.ca_file or None) as http:
        async for finding in _ping(URL(gateway.api_url), http, wall_ns):
            yield finding
            if finding.status == "failure":
                return
        if credentials is None:
            return
        token = await _login(gateway, credentials, http)
        if isinstance(token, Finding):
            yield token
            return
        yield ok("log-in", f"the credentials are good; {_life(token, wall_ns())}")
        for name in ("market hub", "user hub"):
            if name in reachable:
                url_text = gateway.market_hub_url if name == "market hub" else gateway.user_hub_url
                yield await _hub(name, url_text, gateway, token, http)


async def _host(url: URL, ca_file: str, wall_ns: Callable[[], int]) -> AsyncIterator[Finding]:
    """Look a host up, and shake hands with it."""
    host, port = url.host or "", url.port or 0
    try:
        async with asyncio.timeout(STEP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        yield failure(
            "name", GatewayUnreachable(f"{host} cannot be looked up: check the address in [gateway] and the network")
        )
        return
    yield ok("name", f"{host} is {', '.join(dict.fromkeys(str(entry[4][0]) for entry in found[:4]))}")
    secure = url.scheme in ("https", "wss")
    try:
        context = tls_context(ca_file or None) if secure else None
    except InsecureAddress as error:
        yield failure("tls", error)
        return
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host if secure else None)
    except (OSError, TimeoutError) as error:
        yield failure("tls" if secure else "connection", translate(error, where))
        return
    try:
        session: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        yield _certificate(where, session, wall_ns()) if session is not None else _plain(where, host)
    finally:
        writer.transport.abort()


def _plain(where: str, host: str) -> Finding:
    assert is_loopback(host), "plain text goes to this machine alone"
    return ok("connection", f"{where} answers; plain text, within this machine")


def _certificate(where: str, session: ssl.SSLObject, now_ns: int) -> Finding:
    certificate = session.getpeercert() or {}
    ends = certificate.get("notAfter")
    found = f"{where} {session.version()}"
    if not isinstance(ends, str):
        return ok("tls", found)
    when = ssl.cert_time_to_seconds(ends)
    days = (when - now_ns / NS) / 86_400
    found += f", certificate good until {datetime.fromtimestamp(when, UTC):%Y-%m-%d}"
    if days < CERTIFICATE_DAYS:
        return warning("tls", found, f"it ends in {days:.0f} days: whoever runs the gateway should renew it")
    return ok("tls", found)


async def _ping(url: URL, http: aiohttp.ClientSession, wall_ns: Callable[[], int]) -> AsyncIterator[Finding]:
    """Ask the REST interface whether it is there, and what time it is."""
    target = url.with_path("/api/Status/ping")
    skew = ClockSkew()
    best = float("inf")
    try:
        for _ in range(PINGS):
            began = time.monotonic()
            error = await translated(_once(target, http, skew, wall_ns), str(target))
            if error is not None:
                raise error
            best = min(best, time.monotonic() - began)
    except GatewayError as error:
        yield failure("ping", error)
        return
    yield ok("ping", f"{target} answers in {best * 1000:.0f} ms")
    offset, doubt = skew.offset_ns, skew.uncertainty_ns
    if offset is None or doubt is None:
        yield ok("clock", "the gateway does not say what time it is")
    elif abs(offset) - doubt > SKEW_NS:
        direction = "behind" if offset > 0 else "ahead of"
        found = f"this clock is {abs(offset) / NS:.1f} s {direction} the gateway's"
        yield warning("clock", found, "set it (NTP): delays are measured by it, and stamps ahead of it are refused")
    else:
        yield ok("clock", f"within {(abs(offset) + doubt) / NS:.1f} s of the gateway's")


async def _once(
    target: URL, http: aiohttp.ClientSession, skew: ClockSkew, wall_ns: Callable[[], int]
) -> GatewayError | None:
    asked = wall_ns()
    async with asyncio.timeout(STEP_S), http.get(target, allow_redirects=False) as response:
        skew.heard(response.headers.get("Date"), asked, wall_ns())
        return None if response.status == 200 else refused_status(response.status, str(target))


async def _login(gateway: GatewaySettings, credentials: Credentials, http: aiohttp.ClientSession) -> Secret | Finding:
    rest = RestClient(gateway.api_url, http, patience=Patience(attempts=1, timeout=STEP_S))
    try:
        return await rest.login(credentials.username, credentials.api_key)
    except GatewayError as error:
        return failure("log-in", error)


def _life(token: Secret, now_ns: int) -> str:
    ends = expiry_ns(token)
    if ends is None:
        return "the token does not say how long it lives"
    seconds = max(ends - now_ns, 0) / NS
    return f"the token lives {seconds / 3600:.0f} h" if seconds >= 3600 else f"the token lives {seconds:.0f} s"


async def _hub(name: str, url: str, gateway: GatewaySettings, token: Secret, http: aiohttp.ClientSession) -> Finding:
    """Negotiate, upgrade and shake hands with a hub, as a session does."""
    settings = HubSettings(
        url=url,
        auth_transport=gateway.auth_transport,
        negotiate=gateway.negotiate,
        connect_timeout=min(gateway.connect_timeout_s, STEP_S),
    )
    connection = HubConnection(settings, token, http)
    began = time.monotonic()
    try:
        await connection.open()
        took = time.monotonic() - began
    except (GatewayError, InsecureAddress) as error:
        return failure(name, error)
    finally:
        await connection.close()
    return ok(name, f"{connection.where} is up in {took * 1000:.0f} ms")
