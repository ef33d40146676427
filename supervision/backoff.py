"""How long a crashed child waits before it is started again: tenacity's exponential wait, less a random share.

Pure: the random source is an argument, and nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, cast

from tenacity import RetryCallState, wait_exponential
from tenacity.wait import wait_base

from tickloom.supervision.checks import seconds, share
from tickloom.supervision.clocks import to_ns

_LAST = 1000
"""2**1000 is past any cap and still a float. Beyond the range of floats tenacity answers the cap, even for base 0."""


class wait_less_jitter(wait_base):  # noqa: N801 - named in the style of tenacity's own strategies
    """A tenacity wait strategy: another strategy's wait, less a uniformly random share of up to `jitter` of it."""

    def __init__(self, wait: wait_base, jitter: float, rng: Random) -> None:
        self.wait = wait
        self.jitter = jitter
        self.rng = rng

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the wait in seconds: in `[(1 - jitter) * wait, wait]`."""
        return self.wait(retry_state) * (1.0 - self.rng.uniform(0.0, self.jitter))


@dataclass(frozen=True)
class Backoff:
    """The delay before restart n (0 for the first) is `d = min(cap, base * 2**n)`, taken from `[(1 - jitter) * d, d]`.

    `base` and `cap` are seconds; `jitter` is a share in [0, 1]. After the child has run for `quiet` seconds without a
    failure, n starts from 0 again. The delay never exceeds `cap`, however large n is.
    """

    base: float = 0.05
    cap: float = 30.0
    jitter: float = 0.2
    quiet: float = 60.0

    def __post_init__(self) -> None:
        for name in ("base", "cap", "quiet"):
            seconds("backoff", name, getattr(self, name))
        share("backoff", "jitter", self.jitter)

    def delay(self, attempt: int, rng: Random) -> float:
        """Return the delay in seconds before restart number `attempt` (from 0)."""
        state = RetryCallState(retry_object=cast(Any, None), fn=None, args=(), kwargs={})
        state.attempt_number = min(attempt, _LAST) + 1
        return wait_less_jitter(wait_exponential(multiplier=self.base, max=self.cap), self.jitter, rng)(state)

    @property
    def quiet_ns(self) -> int:
        """The quiet period in nanoseconds."""
        return to_ns(self.quiet)
