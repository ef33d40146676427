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

from tickloom.config.sessions import FIRST_YEAR, LAST_YEAR, year_start
from tickloom.messages.market import NS, Instrument

Reason = Literal[
    "unknown_contract",
    "not_finite",
    "off_grid",
    "out_of_range",
    "size_negative",
    "size_zero",
    "size_large",
    "future",
    "out_of_time",
    "old",
    "late",
    "regressing",
    "duplicate",
    "jump",
]

REASONS: dict[Reason, str] = {
    "unknown_contract": "no instrument is known for the contract, so its tick size is not",
    "not_finite": "the price is not a finite number",
    "off_grid": "the price is not a multiple of the tick size",
    "out_of_range": "the price lies outside the contract's range",
    "size_negative": "the size is below zero",
    "size_zero": "the size is zero and the rules say reject",
    "size_large": "the size is above the largest allowed",
    "future": "the stamp lies further ahead of its receipt than allowed",
    "out_of_time": "the stamp lies outside the years that calendars hold",
    "old": "the stamp lies further behind its receipt than allowed",
    "late": "the stamp lies further behind the contract's newest than the lateness allowed",
    "regressing": "the stamp lies behind the contract's newest and the rules say reject",
    "duplicate": "a print equal in stamp, price, size and side was accepted before, with the newest stamp",
    "jump": "the price left the band around the last one and the prints after it did not confirm the move",
}

PASSABLE: frozenset[Reason] = frozenset(
    {"out_of_range", "size_zero", "size_large", "old", "regressing", "duplicate", "jump"}
)
"""What a dry run lets pass. The others have no price on the grid, no tick size, no bar that is still open, or a stamp
that would make every honest print after it late."""

GRID_TOLERANCE = 1e-6
"""How far, in ticks, a price may lie off the grid: prices computed in floating point by others still count."""

MAX_TICKS = 2**40
"""Largest magnitude of a price in ticks: keeps `price * size` sums far from the end of int64."""

FIRST_NS, END_NS = year_start(FIRST_YEAR), year_start(LAST_YEAR + 1)
"""Stamps that have a place in a calendar: from the one to before the other."""

MAX_RECENT = 64
"""Most prints with the newest stamp that are kept to tell a duplicate."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of validation.

    `band` is the largest move from the last accepted price, as a fraction of it, that passes unconfirmed, but never
    less than `band_ticks`; `confirm` is how many consecutive prints near one another make a move of a jump. The last
    accepted price is a robust reference, because no print becomes one that was not within the band or confirmed.
    `price_low` and `price_high` (in points; None: no bound) are the contract's range. `lateness_ns` bounds a stamp
    against the contract's newest, `future_ns` and `max_age_ns` (0: no bound) against its receipt, by the gateway's
    clock as far as that was measured. `regressing` and `duplicates` are accepted unless the rules say reject: real
    feeds have stamps that go back a little, and equal trades in the same instant.
    In a `dry_run` what is `PASSABLE` is named, counted as flagged, and passes.
    """

    band: float = 0.10
    band_ticks: int = 100
    confirm: int = 3
    max_size: int = 1_000_000
    zero_size: Literal["accept", "reject"] = "reject"
    price_low: float | None = None
    price_high: float | None = None
    lateness_ns: int = 10 * NS
    future_ns: int = 5 * NS
    max_age_ns: int = 0
    regressing: Literal["accept", "reject"] = "accept"
    duplicates: Literal["accept", "reject"] = "accept"
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("band", "band_ticks", "confirm", "max_size", "lateness_ns", "future_ns", "max_age_ns"):
            if getattr(self, name) < (1 if name in ("confirm", "max_size") else 0):
                raise ValueError(f"validation.{name} is {getattr(self, name)}; it must not be that small")

    @property
    def range(self) -> tuple[float, float]:
        """The contract's range in points; without bounds, all numbers."""
        low = -math.inf if self.price_low is None else self.price_low
        return low, math.inf if self.price_high is None else self.price_high


class Held(msgspec.Struct, frozen=True, gc=False):
    """A print outside the band, waiting for the ones after it to confirm the move or condemn it."""

    tick: int
    ts_ns: int
    ticks: int
    price: float
    size: int
    side: int


Row = tuple[int, int, int]
"""(ticks, size, side) of a print."""


class Reference(msgspec.Struct, frozen=True, gc=False):
    """What is known of a contract when a print arrives: its newest stamp, its last accepted price, prints held.

    `recent` are the last prints accepted with that stamp, at most `MAX_RECENT`, where duplicates are rejected.
    """

    newest_ns: int = -(2**63)
    last: int | None = None
    held: tuple[Held, ...] = ()
    recent: tuple[Row, ...] = ()


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
    rules: Rules,
    instrument: Instrument,
    reference: Reference,
    ts_ns: int,
    price: float,
    size: int,
    side: int,
    gateway_ns: int,
) -> Reason | None:
    """Return why a print is refused on its own and against what was accepted, or None. Jumps are judged by `fold`.

    `gateway_ns` is its receipt by the gateway's clock.
    """
    if not math.isfinite(price):
        return "not_finite"
    ticks = on_grid(instrument, price)
    if ticks is None:
        return "off_grid"
    if rules.price_low is not None and price < rules.price_low:
        return "out_of_range"
    if rules.price_high is not None and price > rules.price_high:
        return "out_of_range"
    if size < 0:
        return "size_negative"
    if size == 0 and rules.zero_size == "reject":
        return "size_zero"
    if size > rules.max_size:
        return "size_large"
    if ts_ns > gateway_ns + rules.future_ns:
        return "future"
    if not FIRST_NS <= ts_ns < END_NS:
        return "out_of_time"
    if rules.max_age_ns and ts_ns < gateway_ns - rules.max_age_ns:
        return "old"
    if ts_ns < reference.newest_ns - rules.lateness_ns:
        return "late"
    if rules.regressing == "reject" and ts_ns < reference.newest_ns:
        return "regressing"
    if rules.duplicates == "reject" and ts_ns == reference.newest_ns and (ticks, size, side) in reference.recent:
        return "duplicate"
    return None


def why(reason: Reason, rules: Rules, instrument: Instrument, reference: Reference, gateway_ns: int) -> str:
    """Return the words that condemn a print, with the reference it was held against."""
    held_against = {
        "off_grid": lambda: f"tick size {instrument.tick_size:g}",
        "out_of_range": lambda: "range {:g} to {:g}".format(*rules.range),
        "size_large": lambda: f"largest {rules.max_size:,}",
        "future": lambda: f"received at {gateway_ns} ns, allowed {rules.future_ns} ns",
        "out_of_time": lambda: f"{FIRST_YEAR} to {LAST_YEAR}",
        "old": lambda: f"received at {gateway_ns} ns, allowed {rules.max_age_ns} ns",
        "late": lambda: f"newest {reference.newest_ns} ns, allowed {rules.lateness_ns} ns",
        "regressing": lambda: f"newest {reference.newest_ns} ns",
        "jump": lambda: _band(rules, instrument, reference),
    }.get(reason)
    return REASONS[reason] if held_against is None else f"{REASONS[reason]}: {held_against()}"


def _band(rules: Rules, instrument: Instrument, reference: Reference) -> str:
    if reference.last is None:
        return "there was no price before it"
    band = max(rules.band * abs(reference.last), rules.band_ticks)
    return f"last {instrument.to_price(reference.last):g}, band {band * instrument.tick_size:g} either way"
