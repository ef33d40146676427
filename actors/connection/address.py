"""Where we may connect to, and how TLS is verified. One place, so that redirects are held to the same rules.

Plain http and ws go to this machine alone: a token on the open network is given away. Certificates and host names are
always verified; a CA of one's own is added to the system's, never put in its place. No proxy is taken from the
environment, no cookie is kept, no `.netrc` is read.
"""

from __future__ import annotations

import ipaddress
import ssl
from functools import lru_cache
from pathlib import Path

import aiohttp
from yarl import URL

from tickloom.actors.connection.errors import InsecureAddress


def checked(url: str | URL, what: str) -> URL:
    """Return the address as a URL if a token may be sent to it.

    Args:
        url: http(s) or ws(s).
        what: what it is the address of, for the message.

    Raises:
        InsecureAddress: plain text beyond this machine, credentials or a query in the URL, or no URL at all.
    """
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        raise InsecureAddress(f"the address of {what} is not a URL") from None
    if parsed.scheme not in ("http", "https", "ws", "wss") or not parsed.host or port is None:
        raise InsecureAddress(f"the address of {what} must be a full URL such as https://host/path")
    if parsed.user is not None or parsed.password is not None:
        raise InsecureAddress(f"the address of {what} holds a user name or password: take them out")
    if parsed.query_string or parsed.fragment:
        raise InsecureAddress(f"the address of {what} holds a query or fragment: take it out")
    if parsed.scheme in ("http", "ws") and not is_loopback(parsed.host):
        raise InsecureAddress(
            f"{what} at {parsed.host} is plain {parsed.scheme}, and the token would be readable on the way: use "
            f"{parsed.scheme}s (plain text is for this machine alone)"
        )
    return parsed


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its very name: 127.0.0.0/8, ::1, localhost."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def tls_context(ca_file: Path | str | None = None) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names, trusting also the CAs in `ca_file` (PEM).

    It is one and the same, and not to be changed, until one of the files changes: to read the system's authorities
    takes the loop some 30 ms and a megabyte, and every token, hub and reconnect asks for it.

    Raises:
        InsecureAddress: the file cannot be read or holds no certificate.
    """
    system = ssl.get_default_verify_paths()
    files = (system.cafile, system.capath, None if ca_file is None else str(ca_file))
    return _trusting(files[2], tuple(map(_version, files)))


def _version(path: str | None) -> tuple[int, ...]:
    """Return what changes when the file does; nothing when there is none to look at."""
    try:
        found = Path(path).stat() if path else None
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else ()


@lru_cache(maxsize=4)
def _trusting(ca_file: str | None, versions: tuple[tuple[int, ...], ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise InsecureAddress(
                f"no certificate authority could be read from {ca_file}: {error.strerror or 'not PEM'}"
            ) from None
    return context


def open_sockets(session: aiohttp.ClientSession | None) -> int:
    """Return how many sockets an HTTP session has open, WebSockets and idle ones included. From any thread.

    aiohttp has no public figure for it; a test holds the two private names this needs.
    """
    connector = None if session is None else session.connector
    if connector is None or connector.closed:
        return 0
    return len(connector._acquired) + sum(map(len, list(connector._conns.values())))


def open_session(ca_file: Path | str | None = None) -> aiohttp.ClientSession:
    """Return an HTTP session for REST and hubs. Call it in the loop that will use it; whoever calls it closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls_context(ca_file), limit=16),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
