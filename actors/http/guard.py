"""Who may ask, and who may see: pure judgments over the few headers that matter.

A page anywhere on the web can make a browser send requests to 127.0.0.1. Three things keep it out, each on its own:

- The `Host` must be ours, exactly. A name that an attacker resolves to 127.0.0.1 (DNS rebinding) is not.
- An `Origin`, where one is sent, must be ours; and a browser that says where a request comes from
  (`Sec-Fetch-Site`) must say from here. Following a link to the dashboard is let through: it shows the link's page
  nothing.
- Page and API want a pass: the cookie, or a bearer token.

The cookie is made from a key and the port, not random by itself: whoever keeps the key can give it to the next
session, and a page that is open goes on working. Without such a key each session has its own.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from tickloom.config.secrets import Secret

LOOPBACK: Final = "127.0.0.1"
NAMES: Final = (LOOPBACK, "localhost", "[::1]")
"""The names this machine has for itself."""


def pass_for(key: Secret, port: int) -> Secret:
    """Return what the cookie holds: whoever has it may look at the dashboard on `port`."""
    mac = hmac.new(key.reveal().encode(), f"tickloom dashboard {port}".encode(), hashlib.sha256)
    return Secret(urlsafe_b64encode(mac.digest()).decode().rstrip("="))


class Guard:
    """Judges requests to one port.

    Args:
        port: that is served.
        token: of this start; it is in the address that is printed, and may be sent as a bearer token.
        key: what cookies are made from.
    """

    def __init__(self, port: int, token: Secret, key: Secret) -> None:
        self.cookie = f"tickloom-{port}"
        """The cookie's name. Cookies do not know ports, so the name does."""
        self.hosts = frozenset(f"{name}:{port}" for name in NAMES)
        self._token = token
        self._pass = pass_for(key, port)

    @property
    def cookie_value(self) -> str:
        """What the cookie is set to."""
        return self._pass.reveal()

    def refusal(
        self, hosts: Sequence[str], origins: Sequence[str], *, site: str = "", navigation: bool = False
    ) -> str | None:
        """Return why a request must not be answered; None when it may be.

        Args:
            hosts: every `Host` header that came.
            origins: every `Origin` header that came.
            site: the `Sec-Fetch-Site` header; empty when there was none.
            navigation: whether the page itself is asked for, as by following a link.
        """
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return "this server answers to the names of this machine only, and its own port"
        own = f"http://{hosts[0].lower()}"
        if any(origin.lower() != own for origin in origins):
            return "requests from other origins are not answered"
        if site in ("cross-site", "same-site") and not navigation:
            return "requests from other sites are not answered"
        return None

    def is_token(self, token: str) -> bool:
        """Whether it is the token of this start."""
        return _same(token, self._token)

    def admits(self, cookies: Mapping[str, str], authorization: str) -> bool:
        """Whether a request may see the page and the API: by its cookie, or by `Bearer` with the token or the pass."""
        held = cookies.get(self.cookie, "")
        if held and _same(held, self._pass):
            return True
        scheme, _, bearer = authorization.partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer" or not bearer:
            return False
        return _same(bearer, self._token) or _same(bearer, self._pass)


def _same(text: str, secret: Secret) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "surrogatepass"), secret.reveal().encode())
