"""What the token actor and the hubs say to one another. The token travels as a `Secret`, between threads of one
process.
"""

from __future__ import annotations

import msgspec

from tickloom.config.secrets import Secret
from tickloom.supervision import AskRefused


class CurrentToken(msgspec.Struct, frozen=True):
    """Ask for the token; the reply, a `Secret`, comes when there is one."""


class FreshToken(msgspec.Struct, frozen=True):
    """Ask for a token other than the one that was refused. `why` is a sentence for the log."""

    refused: Secret | None
    why: str


class Renewed(msgspec.Struct, frozen=True):
    """Tells a hub that there is a younger token, to move over to at leisure."""

    token: Secret


class NoTokenYetError(AskRefused):
    """There is no token at the moment, but one is being obtained: ask again."""


class TokenRefusedError(AskRefused):
    """There will be no token: the gateway refuses the credentials. The sentence says why and what to do."""
