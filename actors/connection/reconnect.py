"""When to connect, wait, ask for a token or give up: decisions for one hub, as a table. Pure.

What must live here: the phases of a link and what moves it between them. What must not: sockets, sleeping, clocks,
random numbers; `now` (monotonic seconds) and `rand` (in [0, 1)) are arguments. The shell does what the decision says
and reports what came of it.

Theory of operation. `decide` looks up (phase, happening) in `TRANSITIONS`; what is not there raises `IllegalStep` and
changes nothing. Delays grow exponentially with jitter, start afresh after the link was up for `quiet` seconds, heed the
gateway's `Retry-After`, and never let more than `attempts_per_window` attempts fall within `window` seconds: half of
them may come as they like, the others as evenly as the window allows, so that no wait is as long as the window. A
refused token is replaced by a new one; when `refusals` tokens in a row were refused it is over. `GatewayLogout` means
that another session has taken over: taking the feed back at once would have the two fight, so the wait is long and
grows.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

import msgspec


class Phase(Enum):
    """Where a link stands."""

    IDLE = auto()
    CONNECTING = auto()
    UP = auto()
    WAITING = auto()
    NEED_TOKEN = auto()
    OVER = auto()


class Happening(Enum):
    """What the shell reports."""

    START = auto()
    OPENED = auto()
    FAILED = auto()
    REFUSED = auto()
    UNTRUSTED = auto()
    LOST = auto()
    LOGOUT = auto()
    EXPIRED = auto()
    DUE = auto()
    TOKEN = auto()
    CLOSE = auto()


_CLOSE = {Happening.CLOSE: Phase.OVER}

TRANSITIONS: dict[Phase, dict[Happening, tuple[Phase, ...] | Phase]] = {
    Phase.IDLE: {Happening.START: Phase.CONNECTING, **_CLOSE},
    Phase.CONNECTING: {
        Happening.OPENED: Phase.UP,
        Happening.FAILED: (Phase.WAITING, Phase.OVER),
        Happening.REFUSED: (Phase.NEED_TOKEN, Phase.OVER),
        Happening.UNTRUSTED: Phase.OVER,
        **_CLOSE,
    },
    Phase.UP: {
        Happening.LOST: Phase.WAITING,
        Happening.LOGOUT: Phase.WAITING,
        Happening.EXPIRED: Phase.NEED_TOKEN,
        **_CLOSE,
    },
    Phase.WAITING: {Happening.DUE: (Phase.CONNECTING, Phase.WAITING), **_CLOSE},
    Phase.NEED_TOKEN: {Happening.TOKEN: (Phase.CONNECTING, Phase.WAITING), Happening.FAILED: Phase.OVER, **_CLOSE},
    Phase.OVER: {Happening.CLOSE: Phase.OVER},
}
"""Every step there is; where two phases stand, the policy chooses between them."""


class IllegalStep(Exception):
    """A happening that cannot happen in this phase: a defect of the shell. The state is as it was."""


class Policy(msgspec.Struct, frozen=True):
    """How patient a link is. All times in seconds.

    The n-th delay in a row is drawn from `[(1 - jitter) * d, d]`, `d = min(cap, base * 2**n)`. Without a link for
    `patience` seconds (`first_patience` before the first one) it gives up. `logout_wait` doubles with every logout in a
    row, up to `logout_cap`.
    """

    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.5
    quiet: float = 60.0
    window: float = 60.0
    attempts_per_window: int = 12
    refusals: int = 2
    logout_wait: float = 60.0
    logout_cap: float = 900.0
    first_patience: float = 30.0
    patience: float = float("inf")


class Link(msgspec.Struct, frozen=True):
    """The state of a link. `since` is when it was last without a connection; `earned` is the time up to which attempts
    have been used up: each is worth an even share of the window.
    """

    phase: Phase = Phase.IDLE
    delays: int = 0
    earned: float = float("-inf")
    since: float = 0.0
    up_at: float = 0.0
    ever_up: bool = False
    refused: int = 0
    logouts: int = 0


class Connect(msgspec.Struct, frozen=True):
    """Open a connection and subscribe; report OPENED, FAILED, REFUSED or UNTRUSTED."""


class Wait(msgspec.Struct, frozen=True):
    """Wait that many seconds; report DUE."""

    seconds: float


class AskToken(msgspec.Struct, frozen=True):
    """Ask for a new token; report TOKEN, or FAILED if there will be none."""


class Hold(msgspec.Struct, frozen=True):
    """The link is up: keep it; report LOST, LOGOUT or EXPIRED."""


class GiveUp(msgspec.Struct, frozen=True):
    """It is over for good. `why`: `closed`, `authentication`, `certificate` or `unreachable`."""

    why: str


Decision: TypeAlias = Connect | Wait | AskToken | Hold | GiveUp


def decide(
    policy: Policy, link: Link, happening: Happening, now: float, rand: float, retry_after: float | None = None
) -> tuple[Link, Decision]:
    """Return the link's next state and what to do.

    Args:
        policy: how patient it is.
        link: the state before.
        happening: what was reported.
        now: monotonic seconds.
        rand: a random number in [0, 1).
        retry_after: what the gateway asked for with a FAILED, in seconds.

    Raises:
        IllegalStep: `happening` is not possible in this phase.
    """
    if happening not in TRANSITIONS[link.phase]:
        raise IllegalStep(f"a link that is {link.phase.name} cannot report {happening.name}")
    replace = msgspec.structs.replace
    match happening:
        case Happening.CLOSE:
            return replace(link, phase=Phase.OVER), GiveUp("closed")
        case Happening.UNTRUSTED:
            return replace(link, phase=Phase.OVER), GiveUp("certificate")
        case Happening.START:
            return _connect(policy, replace(link, since=now), now)
        case Happening.OPENED:
            up = replace(link, phase=Phase.UP, up_at=now, ever_up=True, refused=0)
            return up, Hold()
        case Happening.LOST:
            down = _down(policy, link, now)
            return _wait(policy, down, now, rand, None)
        case Happening.LOGOUT:
            down = _down(policy, link, now)
            doubled: float = policy.logout_wait * 2.0 ** min(down.logouts, 32)
            wait = min(policy.logout_cap, doubled) * (1.0 + policy.jitter * rand)
            return replace(down, phase=Phase.WAITING, logouts=down.logouts + 1), Wait(wait)
        case Happening.EXPIRED:
            return replace(_down(policy, link, now), phase=Phase.NEED_TOKEN), AskToken()
        case Happening.REFUSED:
            refused = replace(link, refused=link.refused + 1)
            if refused.refused >= policy.refusals:
                return replace(refused, phase=Phase.OVER), GiveUp("authentication")
            return replace(refused, phase=Phase.NEED_TOKEN), AskToken()
        case Happening.FAILED:
            if link.phase is Phase.NEED_TOKEN:
                return replace(link, phase=Phase.OVER), GiveUp("authentication")
            patience = policy.patience if link.ever_up else policy.first_patience
            if now - link.since >= patience:
                return replace(link, phase=Phase.OVER), GiveUp("unreachable")
            return _wait(policy, link, now, rand, retry_after)
        case Happening.DUE | Happening.TOKEN:
            return _connect(policy, link, now)


def _down(policy: Policy, link: Link, now: float) -> Link:
    """Leave `UP`: a link that was up for long starts its delays afresh."""
    quiet = now - link.up_at >= policy.quiet
    return msgspec.structs.replace(
        link, since=now, delays=0 if quiet else link.delays, logouts=0 if quiet else link.logouts
    )


def _wait(policy: Policy, link: Link, now: float, rand: float, retry_after: float | None) -> tuple[Link, Wait]:
    delay = min(policy.cap, policy.base * 2.0 ** min(link.delays, 64)) * (1.0 - policy.jitter * rand)
    if retry_after is not None:
        delay = max(delay, retry_after)
    waiting = msgspec.structs.replace(link, phase=Phase.WAITING, delays=link.delays + 1)
    return waiting, Wait(delay)


def _connect(policy: Policy, link: Link, now: float) -> tuple[Link, Decision]:
    """Connect now, or wait until another attempt fits into the window (a leaky bucket: half at once, half evenly)."""
    half = policy.attempts_per_window / 2
    share = policy.window / half
    wait = link.earned - max(half - 1, 0) * share - now
    if wait > 0:
        return msgspec.structs.replace(link, phase=Phase.WAITING), Wait(wait)
    earned = max(link.earned, now) + share
    return msgspec.structs.replace(link, phase=Phase.CONNECTING, earned=earned), Connect()
