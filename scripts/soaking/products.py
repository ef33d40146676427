"""What the soak trades: five products that differ in tick size, hours and zone, around a weekend when clocks change.

The clocks of Chicago went back on Sunday 2025-11-02 at 07:00 UTC. Three products trade right through that, one of them
in two sittings a day; one closed on Friday and opens on Sunday evening by the new time; and one lives in a zone whose
clocks had changed a week before.
"""

from __future__ import annotations

from typing import Any, Final

from tickloom.messages.market import NS, Instrument
from tickloom.scripts.soaking.hours import DAY, Product, Sitting

CHANGE_NS: Final = 1_762_066_800 * NS
"""When the clocks of Chicago went back: 2025-11-02T07:00:00Z."""

BEFORE_NS: Final = 19 * 3600 * NS
"""Longest stretch before the change: a soak of 48 hours goes from Saturday noon to Monday noon UTC."""

_WEEK = (0, 1, 2, 3, 4, 5, 6)
_WORKING = (0, 1, 2, 3, 4)
_ALL_DAY = (Sitting("00:00", "24:00"),)

PRODUCTS: Final = (
    Product(
        "CON.F.US.EP.Z25", "cme_equity", 1, 4, 27_300, 4, "America/Chicago", (Sitting("17:00", "16:00"),), _WORKING
    ),
    Product(
        "CON.F.US.HALL.Z25", "soak_hall", 1, 4, 3_000, 1, "America/Chicago",
        (Sitting("19:00", "07:45"), Sitting("08:30", "18:15")), _WEEK,
    ),
    Product("CON.F.US.BTC.X25", "24/7@America/Chicago", 5, 1, 22_000, 2, "America/Chicago", _ALL_DAY, _WEEK),
    Product("CON.F.US.ETH.X25", "24/7@Europe/London", 1, 100, 390_000, 1, "Europe/London", _ALL_DAY, _WEEK),
    Product("CON.F.US.DESK.Z25", "soak_desk", 1, 32, 3_600, 2, "America/Chicago", (Sitting("18:00", "17:00"),), _WEEK),
)  # fmt: skip

CALENDARS: Final[dict[str, Any]] = {
    "soak_desk": {"zone": "America/Chicago", "sittings": [{"open": "18:00", "close": "17:00"}]},
    "soak_hall": {
        "zone": "America/Chicago",
        "sittings": [{"open": "19:00", "close": "07:45"}, {"open": "08:30", "close": "18:15"}],
    },
}
"""Calendars of the soak's own, as the settings have them."""

TIMEFRAMES: Final = {
    "1s": NS, "5s": 5 * NS, "15s": 15 * NS, "1m": 60 * NS, "5m": 300 * NS, "15m": 900 * NS, "1h": 3600 * NS, "1d": 0,
}  # fmt: skip
"""What is built, with the widths the truth uses (0: trading days)."""


def instruments() -> tuple[Instrument, ...]:
    """Return the products as the gateway would describe them."""
    return tuple(Instrument(p.contract, p.numerator, p.denominator, calendar=p.calendar) for p in PRODUCTS)


def begins(length_ns: int) -> int:
    """Return when a soak of that length begins (ns): the change of the clocks is within, whole minutes."""
    minute = 60 * NS
    return (CHANGE_NS - min(length_ns // 2, BEFORE_NS)) // minute * minute


__all__ = ["CALENDARS", "CHANGE_NS", "DAY", "PRODUCTS", "TIMEFRAMES", "begins", "instruments"]
