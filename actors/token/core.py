"""The life of a token as a pure fold: events in, commands out. It knows no clock, no socket and no random numbers.

What must live here: when to log in, when to renew, when to give up. What must not: how (that is `RestClient`), and who
is told. `now_ns` is our wall clock; `skew_ns` (theirs minus ours) puts the gateway's expiry on it; `rand` in [0, 1)
spreads sessions.

Theory of operation. `step` looks up (phase, event) in `TRANSITIONS`; what is not there raises `IllegalStep` and changes
nothing. A token is renewed when a share of its life has passed (`renew_at`, less up to `jitter`), by `validate`, which
keeps the session; if the gateway refuses that, by a new log-in. The old token stays in use until a new one is there, so
a failing renewal harms nobody before the expiry; retries grow exponentially, heed `Retry-After`, and are at most a
quarter of the time left apart while the token is good. A refusal of the credentials is final: repeating it could lock
the account.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum, auto
from typing import TypeAlias

import msgspec

from tickloom.config.secrets import Secret
from tickloom.messages.market import NS

DEFAULT_LIFE_NS = 24 * 3600 * NS
"""How long a token lives that does not say so (gateway.docs.projectx.com: 24 hours)."""


class Phase(Enum):
    """Where the token's life stands."""

    NONE = auto()
    LOGGING_IN = auto()
    HELD = auto()
    RENEWING = auto()
    WAITING = auto()
    REFUSED = auto()


class Begin(msgspec.Struct, frozen=True):
    """Start: a token is wanted."""


class Obtained(msgspec.Struct, frozen=True):
    """A log-in or a renewal gave a token. `skew_ns` is the gateway's clock minus ours, as far as known."""

    token: Secret
    skew_ns: int = 0


class Refused(msgspec.Struct, frozen=True):
    """The gateway refused the credentials, for good. `sentence` says why and what to do."""

    code: int
    sentence: str


class SessionOver(msgspec.Struct, frozen=True):
    """The renewal was refused: the session is not valid any more, a log-in is needed."""


class Failed(msgspec.Struct, frozen=True):
    """A log-in or a renewal came to nothing, for now. `retry_after` is what the gateway asked for, in seconds."""

    sentence: str
    retry_after: float | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A hub or an endpoint refused this token (401). Another token than the one held is old news."""

    token: Secret


class Due(msgspec.Struct, frozen=True):
    """The time of the last `WakeAt` has come."""


Event: TypeAlias = Begin | Obtained | Refused | SessionOver | Failed | Rejected | Due


class Login(msgspec.Struct, frozen=True):
    """Log in; report Obtained, Refused or Failed."""


class Renew(msgspec.Struct, frozen=True):
    """Renew this token; report Obtained, SessionOver or Failed."""

    token: Secret


class WakeAt(msgspec.Struct, frozen=True):
    """Report Due at that time (ns, our wall clock). It replaces the one before."""

    at_ns: int


class Publish(msgspec.Struct, frozen=True):
    """Everyone who connects uses this token from now on. `how` is `login` or `renewal`."""

    token: Secret
    expires_ns: int
    how: str


class Lost(msgspec.Struct, frozen=True):
    """There is no good token at the moment; `sentence` says why."""

    sentence: str


class GiveUp(msgspec.Struct, frozen=True):
    """There will be no token: the credentials are refused."""

    code: int
    sentence: str


Command: TypeAlias = Login | Renew | WakeAt | Publish | Lost | GiveUp

TRANSITIONS: dict[Phase, dict[type, tuple[Phase, ...]]] = {
    Phase.NONE: {Begin: (Phase.LOGGING_IN,)},
    Phase.LOGGING_IN: {
        Obtained: (Phase.HELD,),
        Refused: (Phase.REFUSED,),
        Failed: (Phase.WAITING,),
        Rejected: (Phase.LOGGING_IN,),
        Due: (Phase.LOGGING_IN,),
    },
    Phase.HELD: {Due: (Phase.RENEWING, Phase.LOGGING_IN), Rejected: (Phase.LOGGING_IN, Phase.HELD)},
    Phase.RENEWING: {
        Obtained: (Phase.HELD,),
        SessionOver: (Phase.LOGGING_IN,),
        Failed: (Phase.HELD, Phase.LOGGING_IN),
        Rejected: (Phase.RENEWING,),
        Due: (Phase.RENEWING,),
    },
    Phase.WAITING: {Due: (Phase.LOGGING_IN,), Rejected: (Phase.WAITING,)},
    Phase.REFUSED: {Rejected: (Phase.REFUSED,), Due: (Phase.REFUSED,)},
}
"""Every step there is; where several phases stand, the state chooses between them."""


class IllegalStep(Exception):
    """An event that cannot happen in this phase: a defect of the shell. The state is as it was."""


class Policy(msgspec.Struct, frozen=True):
    """When a token is renewed and how failures are repeated. Shares are of a token's life, times in seconds.

    Renewal is due after `renew_at - jitter * rand` of the life. The n-th retry in a row waits `[1/2, 1]` of
    `min(cap, base * 2**n)`.
    """

    renew_at: float = 0.8
    jitter: float = 0.1
    base: float = 1.0
    cap: float = 300.0


class Life(msgspec.Struct, frozen=True):
    """The state. `expires_ns` is on our clock; `failures` counts failures in a row."""

    phase: Phase = Phase.NONE
    token: Secret | None = None
    obtained_ns: int = 0
    expires_ns: int = 0
    failures: int = 0


def step(policy: Policy, life: Life, event: Event, now_ns: int, rand: float) -> tuple[Life, tuple[Command, ...]]:
    """Return the state after `event` and what to do, in order.

    Raises:
        IllegalStep: the event cannot happen in this phase.
    """
    if type(event) not in TRANSITIONS[life.phase]:
        raise IllegalStep(f"a token that is {life.phase.name} cannot take {type(event).__name__}")
    match event:
        case Begin():
            return _log_in(life)
        case Obtained():
            return _hold(policy, life, event, now_ns, rand)
        case Refused():
            return (
                Life(phase=Phase.REFUSED),
                (GiveUp(event.code, event.sentence),),
            )
        case SessionOver():
            return _log_in(life)
        case Failed():
            return _retry(policy, life, event, now_ns, rand)
        case Rejected():
            if life.token is None or event.token != life.token:
                return life, ()
            lost = Lost("the gateway refused the token before it expired")
            if life.phase is Phase.HELD:
                state, commands = _log_in(Life())
                return state, (lost, *commands)
            # another is on its way: whoever asks meanwhile waits for it, and is not given the refused one again
            return msgspec.structs.replace(life, token=None), (lost,)
        case Due():
            return _due(life, now_ns)


def _due(life: Life, now_ns: int) -> tuple[Life, tuple[Command, ...]]:
    replace = msgspec.structs.replace
    if life.phase is Phase.WAITING:
        return _log_in(life)
    if life.phase is not Phase.HELD or life.token is None:
        return life, ()  # an old alarm
    if now_ns >= life.expires_ns:
        state, commands = _log_in(msgspec.structs.replace(life, token=None))
        return state, (Lost("the token has expired"), *commands)
    return replace(life, phase=Phase.RENEWING), (Renew(life.token),)


def _log_in(life: Life) -> tuple[Life, tuple[Command, ...]]:
    return msgspec.structs.replace(life, phase=Phase.LOGGING_IN), (Login(),)


def _hold(policy: Policy, life: Life, event: Obtained, now_ns: int, rand: float) -> tuple[Life, tuple[Command, ...]]:
    says = expiry_ns(event.token)
    expires = now_ns + DEFAULT_LIFE_NS if says is None else says - event.skew_ns
    how = "renewal" if life.phase is Phase.RENEWING else "login"
    share = policy.renew_at - policy.jitter * rand
    held = Life(Phase.HELD, event.token, now_ns, expires, 0)
    due = now_ns + max(int((expires - now_ns) * share), NS)  # a token that is born old is renewed at a walking pace
    return held, (Publish(event.token, expires, how), WakeAt(due))


def _retry(policy: Policy, life: Life, event: Failed, now_ns: int, rand: float) -> tuple[Life, tuple[Command, ...]]:
    """A failed renewal leaves the token in use while it is good; without one, log in, and after that wait."""
    replace = msgspec.structs.replace
    delay = min(policy.cap, policy.base * 2.0 ** min(life.failures, 32)) * (1.0 - 0.5 * rand)
    if life.phase is Phase.RENEWING and (life.token is None or now_ns >= life.expires_ns):
        what = "was refused" if life.token is None else "has expired"
        state, commands = _log_in(replace(life, token=None, failures=life.failures + 1))
        return state, (Lost(f"the token {what}, and could not be renewed: {event.sentence}"), *commands)
    if life.phase is Phase.RENEWING:
        delay = min(delay, max((life.expires_ns - now_ns) / NS / 4, 0.25))
        delay = max(delay, event.retry_after or 0.0)
        at = min(now_ns + int(delay * NS), max(life.expires_ns, now_ns))
        return replace(life, phase=Phase.HELD, failures=life.failures + 1), (WakeAt(at),)
    delay = max(delay, event.retry_after or 0.0)
    waiting = replace(life, phase=Phase.WAITING, token=None, failures=life.failures + 1)
    return waiting, (Lost(event.sentence), WakeAt(now_ns + int(delay * NS)))


class _Claims(msgspec.Struct):
    exp: int | float | None = None


def expiry_ns(token: Secret) -> int | None:
    """Return when a JSON Web Token says it expires (ns, the issuer's clock), or None if it says nothing readable.

    The signature is not verified: the token is the gateway's to judge, and this only times its renewal.
    """
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        exp = msgspec.json.decode(payload, type=_Claims).exp
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        return None
    if exp is None or not 0 < exp < 2**33:
        return None
    return int(exp * NS)
