"""What can go wrong with the gateway, in our words. No exception of this module carries a token, a key or a query
string.

Transport libraries put headers and URLs into their exceptions (aiohttp's `WSServerHandshakeError` shows the
Authorization header in its `repr`). So their errors end at `translated`: the new error is raised after the `except`
block is left, and not inside it, which leaves neither `__cause__` nor `__context__` to be printed by somebody else's
handler.

Every message is one sentence: what, where, and what to do when there is something to do.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp
from yarl import URL

from tickloom.actors.connection.failures import (
    AuthenticationRefused,
    CertificateRefused,
    ConnectionLost,
    CredentialsRefused,
    GatewayError,
    GatewayUnreachable,
    InsecureAddress,
    InvocationFailed,
    RequestRefused,
    SessionRefused,
    SubscriptionRefused,
)

__all__ = [
    "TRANSPORT_ERRORS",
    "AuthenticationRefused",
    "CertificateRefused",
    "ConnectionLost",
    "CredentialsRefused",
    "GatewayError",
    "GatewayUnreachable",
    "InsecureAddress",
    "InvocationFailed",
    "RequestRefused",
    "SessionRefused",
    "SubscriptionRefused",
    "place",
    "refused_status",
    "retry_after",
    "translate",
    "translated",
]

T = TypeVar("T")


def place(url: str | URL) -> str:
    """Return an address fit for a message: without user, query and fragment."""
    parsed = URL(url)
    return str(parsed.with_user(None).with_query(None).with_fragment(None)) if parsed.host else "the configured address"


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a `Retry-After` header (seconds, or an HTTP date): seconds from now, at least 0; None if it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def refused_status(status: int, where: str, wait: float | None = None) -> GatewayError:
    """Return the error for an HTTP status that is no success."""
    if status in (401, 403):
        return AuthenticationRefused(f"{where} refused the token (HTTP {status})")
    if status == 429:
        return GatewayUnreachable(f"{where} says there were too many requests (HTTP 429)", wait)
    if status == 404:
        return GatewayUnreachable(f"{where} does not exist (HTTP 404): check the configured address", unknown=True)
    if status >= 500:
        return GatewayUnreachable(f"{where} is failing (HTTP {status})", wait)
    return GatewayUnreachable(f"{where} answered with HTTP {status}", wait)


def translate(error: BaseException, where: str) -> GatewayError:
    """Return our error for one of the transport's. Only words known to be harmless are taken over."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, aiohttp.ClientResponseError):  # among them WSServerHandshakeError
        wait = retry_after(error.headers.get("Retry-After")) if error.headers is not None else None
        if error.status in (101, 200):
            return GatewayUnreachable(f"{where} does not speak WebSocket as it should")
        return refused_status(error.status, where, wait)
    certificate = _certificate(error)
    if certificate is not None:
        return CertificateRefused(f"the certificate of {where} is not trusted: {certificate}")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return GatewayUnreachable(f"no TLS connection with {where} could be made")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return GatewayUnreachable(f"the host of {where} cannot be found: check the address and the network")
    if isinstance(error, TimeoutError):
        return GatewayUnreachable(f"{where} did not answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return GatewayUnreachable("the configured address is not a URL")
    if isinstance(error, OSError):  # ClientOSError and ClientConnectorError are
        return GatewayUnreachable(
            f"{where} cannot be reached: {os.strerror(error.errno) if error.errno else 'no answer'}"
        )
    return GatewayUnreachable(f"{where} broke off ({type(error).__name__})")


def _certificate(error: BaseException | None) -> str | None:
    """Return OpenSSL's words for what is wrong with the certificate, if that is what the error is about."""
    for _ in range(8):
        if error is None:
            break
        words = getattr(error, "verify_message", None)
        if isinstance(words, str):
            return words.rstrip(".")
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__
    return None


TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError, asyncio.IncompleteReadError)
"""What a transport may raise and `translated` turns into ours. `ssl.SSLError` is an OSError."""


async def translated(work: Awaitable[T], where: str) -> T:
    """Await `work`; raise what went wrong as one of ours, with nothing of the transport's error attached."""
    try:
        return await work
    except (GatewayError, InsecureAddress):
        raise
    except TRANSPORT_ERRORS as error:
        ours = translate(error, where)
    raise ours
