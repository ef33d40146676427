"""Log-in tokens: real JWTs (HS256) with a real `exp`, and the one account they are given to.

A new token does not invalidate older ones; `revoke_all` does. Keys are kept as digests and tokens not at all, so
nothing here can leak one. The time is always passed in.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tickloom.scripts.gateway.stamps import SECOND_NS

_HEADER: Final = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
DEMO_USER, DEMO_KEY = "demo", "demo-key"


class Account(msgspec.Struct, frozen=True):
    """Who may log in: the user's name and the SHA-256 of the API key."""

    user: str
    key_digest: bytes

    def __repr__(self) -> str:
        return f"Account({self.user!r})"

    @classmethod
    def of(cls, user: str, key: str) -> Account:
        """Return the account of `user` with `key`; the key itself is not kept."""
        return cls(user, hashlib.sha256(key.encode()).digest())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Account:
        """Return the account that GATEWAY_USER and GATEWAY_KEY name, else the demo account."""
        return cls.of(environment.get("GATEWAY_USER") or DEMO_USER, environment.get("GATEWAY_KEY") or DEMO_KEY)

    def admits(self, user: str, key: str) -> bool:
        """Return whether user and key are right."""
        digest = hashlib.sha256(key.encode()).digest()
        return hmac.compare_digest(user.encode(), self.user.encode()) & hmac.compare_digest(digest, self.key_digest)


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says: whose it is, its number, and when it ends (ns UTC)."""

    user: str
    number: int
    expires_ns: int
    fingerprint: str


class TokenRefusedError(Exception):
    """A token is no good; the argument says why in one word, and never holds the token."""


def fingerprint(token: str) -> str:
    """Return the first 12 hex digits of the token's SHA-256, by which tokens are told apart."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def _pack(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenOffice:
    """Issues tokens and checks them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.sha256(secret).digest()
        self.issued = 0
        self._revoked = 0

    def _sign(self, body: str) -> str:
        return _pack(hmac.digest(self._secret, body.encode(), "sha256"))

    def issue(self, user: str, ttl_s: float, now_ns: int) -> str:
        """Return a new token for `user` that lives `ttl_s` seconds; `exp` is rounded up to a whole second."""
        self.issued += 1
        second = now_ns // SECOND_NS
        claims: dict[str, Any] = {
            "sub": user,
            "name": user,
            "jti": str(self.issued),
            "iat": second,
            "nbf": second,
            "exp": math.ceil((now_ns + round(ttl_s * SECOND_NS)) / SECOND_NS),
            "iss": "tickloom-gateway",
            "aud": "tickloom-gateway",
        }
        body = f"{_HEADER}.{_pack(msgspec.json.encode(claims))}"
        return f"{body}.{self._sign(body)}"

    def check(self, token: str, now_ns: int) -> Claims:
        """Return what a token says.

        Raises:
            TokenRefusedError: `malformed`, `bad_signature`, `expired` or `revoked`.
        """
        body, dot, signature = token.rpartition(".")
        if not dot or body.count(".") != 1 or not token.isascii():
            raise TokenRefusedError("malformed")
        if not hmac.compare_digest(self._sign(body), signature):
            raise TokenRefusedError("bad_signature")
        payload = body.partition(".")[2]
        try:
            said = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            claims = Claims(said["sub"], int(said["jti"]), int(said["exp"]) * SECOND_NS, fingerprint(token))
        except (msgspec.DecodeError, binascii.Error, KeyError, TypeError, ValueError):
            raise TokenRefusedError("malformed") from None
        if claims.expires_ns <= now_ns:
            raise TokenRefusedError("expired")
        if claims.number <= self._revoked:
            raise TokenRefusedError("revoked")
        return claims

    def revoke_all(self) -> None:
        """Make every token issued so far invalid."""
        self._revoked = self.issued
