"""How many ticks are due at a time: an exact average, with bursts and quiet spells about it.

Time is warped, not drawn: a period of ten seconds holds a hundred spells of unequal weight and lasts exactly ten
seconds, so the average over whole periods is exact and the count due is a pure function of time. All of it is integer
arithmetic: no drift, however long it runs. The denser the stream, the smoother it gets, as real streams do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tickloom.scripts.gateway.mixing import digest

SPELLS: Final = 100
SPELL_NS: Final = 100_000_000
PERIOD_NS: Final = SPELLS * SPELL_NS
_WEIGHTS: Final = (3, 12, 30, 90)
"""Relative intensity of a quiet, calm, busy and bursting spell."""
_DENSE: Final = 2000.0
"""Ticks a second beyond which the swings are damped in proportion."""


@lru_cache(maxsize=256)
def _bounds(seed: int, name: str, period: int) -> tuple[int, ...]:
    """Return the warped time (ns within the period) at which each spell begins, and the period's end."""
    raw: NDArray[Any] = np.random.PCG64(digest(seed, name, "spells", period)).random_raw(SPELLS)
    weights: list[int] = []
    state = 1
    for value in raw.tolist():
        # A spell lasts half a second on average; then one of the kinds follows, bursts seldom.
        if value % 5 == 0:
            state = (0, 0, 1, 1, 1, 2, 2, 3)[(value >> 8) % 8]
        weights.append(_WEIGHTS[state])
    total, running, bounds = sum(weights), 0, [0]
    for weight in weights:
        running += weight
        bounds.append(PERIOD_NS * running // total)
    return tuple(bounds)


def warp(seed: int, name: str, elapsed_ns: int) -> int:
    """Return `elapsed_ns` with its spells drawn together and apart; whole periods keep their length."""
    period, rest = divmod(elapsed_ns, PERIOD_NS)
    spell, within = divmod(rest, SPELL_NS)
    bounds = _bounds(seed, name, period)
    low, high = bounds[spell], bounds[spell + 1]
    return period * PERIOD_NS + low + (high - low) * within // SPELL_NS


class Pacer:
    """The number of ticks that have fallen due in one contract.

    A change of rate takes effect from its moment on and never alters what was due before it.
    """

    def __init__(self, rate: float, *, name: str, seed: int, lively: bool, start_ns: int) -> None:
        self._name = name
        self._seed = seed
        self._lively = lively
        self._origin_ns = start_ns
        self._base = 0
        self._set(rate)

    def _set(self, rate: float) -> None:
        self.rate = rate
        self._num, self._den = float(rate).as_integer_ratio()
        self._den *= 1_000_000_000
        # in thousandths, so that everything stays an integer
        self._swing = round(1000 * min(1.0, _DENSE / rate)) if self._lively and rate > 0 else 0

    def due(self, now_ns: int) -> int:
        """Return how many ticks are due up to `now_ns`."""
        elapsed = now_ns - self._origin_ns
        if elapsed <= 0:
            return self._base
        if self._swing:
            warped = warp(self._seed, self._name, elapsed)
            elapsed += (warped - elapsed) * self._swing // 1000
        return self._base + elapsed * self._num // self._den

    def change(self, rate: float, now_ns: int) -> None:
        """Go on at another rate from `now_ns`."""
        self._base = self.due(now_ns)
        self._origin_ns = max(now_ns, self._origin_ns)
        self._set(rate)

    def add(self, count: int) -> None:
        """Have `count` more ticks fall due at once."""
        self._base += count
