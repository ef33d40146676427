"""What goes wrong when: a schedule drawn from a seed. Pure.

The time is divided into laps; in each the deliveries are plain, out of order, doubled, and both, in turn. Faults are
spread evenly over the whole, in an order drawn from the seed, with a pause at either end. A half-open link needs
longer to be found than a closed one, so it gets more room.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

MODES: Final[tuple[Mapping[str, float], ...]] = (
    {"out_of_order_pct": 0, "duplicate_pct": 0},
    {"out_of_order_pct": 5, "duplicate_pct": 0},
    {"out_of_order_pct": 0, "duplicate_pct": 5},
    {"out_of_order_pct": 5, "duplicate_pct": 5},
)
"""Ways of delivering, as fault switches of the gateway."""

ABORTS: Final[tuple[object, ...]] = (True, "tcp", "reset")
QUIET_S: Final = 3.0
"""Undisturbed at the start and, so that all is well again, four times as long at the end."""

ROOM: Final = {"half_open": 4.0}
"""How much more room than others a fault needs."""

MUTE_S: Final = 22.0
REFUSE_S: Final = 3.0
STALL_S: Final = 1.5


class Faults(msgspec.Struct, frozen=True):
    """How many of each.

    `aborts`: the gateway ends all hub connections, with a close message, without one, and by a TCP reset in turn.
    `half_open`: the market link stays open and nothing passes any more. `refused`: every upgrade is refused for a
    while, at every other time with the link ended as well. `logins`: all tokens are void, the link is ended, and the
    next log-ins fail. `stalls`: no market data for a moment though pings go on, and then all of it.
    """

    aborts: int = 20
    half_open: int = 5
    refused: int = 4
    logins: int = 3
    stalls: int = 2

    @property
    def total(self) -> int:
        """How many faults."""
        return self.aborts + self.half_open + self.refused + self.logins + self.stalls


class Step(msgspec.Struct, frozen=True):
    """At `at_s` seconds, the switches to set. `what` is the fault's kind, or `mode`."""

    at_s: float
    what: str
    switches: dict[str, object]


def schedule(seconds: float, faults: Faults, seed: int, laps: int = 2) -> list[Step]:
    """Return the steps of a run of `seconds`, in order."""
    steps = [
        Step(seconds * n / (laps * len(MODES)), "mode", dict(MODES[n % len(MODES)])) for n in range(laps * len(MODES))
    ]
    kinds = [
        kind
        for kind, count in (
            ("abort", faults.aborts),
            ("half_open", faults.half_open),
            ("refused", faults.refused),
            ("login", faults.logins),
            ("stall", faults.stalls),
        )
        for _ in range(count)
    ]
    random.Random(seed).shuffle(kinds)  # noqa: S311 - an order, not a secret
    room = (seconds - 5 * QUIET_S) / max(sum(ROOM.get(kind, 1.0) for kind in kinds), 1.0)
    at, counts = QUIET_S, dict.fromkeys(kinds, 0)
    for kind in kinds:
        steps.append(Step(at, kind, _switches(kind, counts[kind])))
        counts[kind] += 1
        at += room * ROOM.get(kind, 1.0)
    return sorted(steps, key=lambda step: step.at_s)


def _switches(kind: str, number: int) -> dict[str, Any]:
    """Return the switches of the `number`-th fault of a kind."""
    match kind:
        case "abort":
            return {"abort": ABORTS[number % len(ABORTS)], "close_allow_reconnect": number % 2 == 1}
        case "half_open":
            # every other time new links are no better: then the old one is found dead by its pings, not by a renewal
            alone = number % 2 == 0
            return {
                "mute": MUTE_S,
                "mute_mode": "blackhole" if alone else "hold",
                "mute_new": not alone,
                "hub": "market",
            }
        case "refused":
            return {"refuse_upgrade": REFUSE_S} | ({"abort": True} if number % 2 else {})
        case "login":
            return {"revoke_tokens": True, "login_fail": 2, "login_fail_status": 503, "abort": True}
        case _:
            return {"stall": STALL_S}
