"""What the gateway, or the way to it, did to us: the errors themselves, by what a caller can do about them.

They stand apart from `errors`, which makes them of a transport's, so that the command line can tell them without
importing a transport.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of everything the gateway, or the way to it, did to us. `retry_after` is what it asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationRefused(GatewayError):
    """The token was refused (401 or 403): a new one may be taken. After a fresh one it is for good."""


class CredentialsRefused(AuthenticationRefused):
    """User name or key were refused: no retry can help. `code` is the gateway's error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class GatewayUnreachable(GatewayError):
    """Nothing usable answers at the address, for now: refused, timed out, 429, 5xx, not the protocol.

    `unknown` tells a 404: what was asked for is not there, and asking again would not bring it.
    """

    def __init__(self, message: str, retry_after: float | None = None, *, unknown: bool = False) -> None:
        super().__init__(message, retry_after)
        self.unknown = unknown


class CertificateRefused(GatewayError):
    """The peer's TLS certificate is not to be trusted: nothing was sent. No retry can help."""


class ConnectionLost(GatewayError):
    """An open connection ended. `invited` tells that the gateway closed it and asked us to come back."""

    def __init__(self, message: str, *, invited: bool = False) -> None:
        super().__init__(message)
        self.invited = invited


class SubscriptionRefused(GatewayError):
    """The hub refused to subscribe `contract` (or account) to `stream`."""

    def __init__(self, contract: str, stream: str, error: str) -> None:
        super().__init__(f"the gateway refused {stream} of {contract}: {error}")
        self.contract = contract
        self.stream = stream


class InvocationFailed(GatewayError):
    """A hub method ended with an error (`answered`), or without an answer."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class RequestRefused(GatewayError):
    """A REST request was understood and refused. `code` is the endpoint's error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class SessionRefused(RequestRefused):
    """`validate` says the token's session is over: log in anew."""


class InsecureAddress(ValueError):
    """An address a token must not be sent to: the configuration, or a redirect, is at fault; no retry can help."""
