"""The rules a print must pass, as values. Each has a reason code; `check_row` is the oracle the vectorised path
equals.

Order of the checks is the order of the reasons below: the first that fails names the rejection. Rules know one
contract's `Reference` (what was accepted before) and nothing else; they read no clock: the receipt stamp comes with
the print.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from tickloom.messages.market import NS, Instrument

Reason = Literal[
    "unknown_contract", "not_finite", "off_grid", "size_negative", "size_zero", "size_large", "future", "late", "jump"
]

REASONS: dict[Reason, str] = {
    "unknown_contract": "no instrument is known for the contract, so its tick size is not",
    "not_finite": "the price is not a finite number",
    "off_grid": "the price is not a multiple of the tick size",
    "size_negative": "the size is below zero",
    "size_zero": "the size is zero and the rules say reject",
    "size_large": "the size is above the largest allowed",
    "future": "the stamp lies further ahead of its receipt than allowed",
    "late": "the stamp lies further behind the contract's newest than the lateness allowed",
    "jump": "the price left the band around the last one and the prints after it did not confirm the move",
}

PASSABLE: frozenset[Reason] = frozenset({"size_zero", "size_large", "jump"})
"""What a dry run lets pass. The others have no price on the grid, no tick size, no bar that is still open, or a stamp
that would make every honest print after it late."""

GRID_TOLERANCE = 1e-6
"""How far, in ticks, a price may lie off the grid: prices computed in floating point by others still count."""

MAX_TICKS = 2**40
"""Largest magnitude of a price in ticks: keeps `price * size` sums far from the end of int64."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of validation.

    `band` is the largest move from the last accepted price, as a fraction of it, that passes unconfirmed, but never
    less than `band_ticks`; `confirm` is how many consecutive prints near one another make a move of a jump.
    `lateness_ns` and `future_ns` bound the stamp against the contract's newest and against the receipt.
    In a `dry_run` what is `PASSABLE` is named, counted as flagged, and passes.
    """

    band: float = 0.10
    band_ticks: int = 100
    confirm: int = 3
    max_size: int = 1_000_000
    zero_size: Literal["accept", "reject"] = "reject"
    lateness_ns: int = 10 * NS
    future_ns: int = 5 * NS
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("band", "band_ticks", "confirm", "max_size", "lateness_ns", "future_ns"):
            if getattr(self, name) < (1 if name in ("confirm", "max_size") else 0):
                raise ValueError(f"validation.{name} is {getattr(self, name)}; it must not be that small")


class Held(msgspec.Struct, frozen=True, gc=False):
    """A print outside the band, waiting for the ones after it to confirm the move or condemn it."""

    tick: int
    ts_ns: int
    ticks: int
    price: float
    size: int
    side: int


class Reference(msgspec.Struct, frozen=True, gc=False):
    """What is known of a contract when a print arrives: its newest stamp, its last accepted price, prints held."""

    newest_ns: int = -(2**63)
    last: int | None = None
    held: tuple[Held, ...] = ()


def on_grid(instrument: Instrument, price: float) -> int | None:
    """Return the price in ticks, or None when it is off the grid by more than `GRID_TOLERANCE` or too large."""
    exact = price * instrument.denominator / instrument.numerator
    if not -MAX_TICKS <= exact <= MAX_TICKS:
        return None
    ticks = round(exact)
    return ticks if abs(exact - ticks) <= GRID_TOLERANCE else None


def within_band(rules: Rules, anchor: int, ticks: int) -> bool:
    """Whether `ticks` lies within the band around `anchor` (both in ticks)."""
    return abs(ticks - anchor) <= max(rules.band * abs(anchor), rules.band_ticks)


def check_row(
    rules: Rules, instrument: Instrument, newest_ns: int, ts_ns: int, price: float, size: int, recv_ns: int
) -> Reason | None:
    """Return why a print is refused on its own and against the newest stamp, or None. Jumps are judged by `fold`."""
    if not math.isfinite(price):
        return "not_finite"
    if on_grid(instrument, price) is None:
        return "off_grid"
    if size < 0:
        return "size_negative"
    if size == 0 and rules.zero_size == "reject":
        return "size_zero"
    if size > rules.max_size:
        return "size_large"
    if ts_ns > recv_ns + rules.future_ns:
        return "future"
    if ts_ns < newest_ns - rules.lateness_ns:
        return "late"
    return None
