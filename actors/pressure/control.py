"""What gives way under pressure, how far, and when it comes back: one pure fold over looks at memory and mailboxes.

Three things move, each between bounds, each with hysteresis, each with its cause told:

- **squeeze**: halvings of what only saves work or waiting: capacities of mailboxes, bars kept, rows that wait for a
  file. One more with each look at which the tightest bound on memory is used to `high` or beyond, all at
  `critical`; one less after it was at or below `low` for `recover_ns`.
- **stretch** of one mailbox: doublings, while it overflows and memory is plentiful. All are taken back at once when
  memory is not, and one by one after `recover_ns` without overflow.
- **yielding**: how many of `order` give way. One more with each look under strain (memory at `high`, or an overflow of
  a mailbox of the pipeline that goes on), one less after `recover_ns` without.

Memory that cannot be read decides nothing: nothing is squeezed for it, and nothing is stretched without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from tickloom.actors.pressure.boxes import Began, Box, Ended, Watched, watch
from tickloom.actors.pressure.readings import Memory

Flow: TypeAlias = Literal["updates", "quotes", "depth", "subscribers", "trades"]
"""What can give way: updates of open bars; quotes, of which the latest counts; depth; what may wait for slow
subscribers; and the resolution of trades, which fold exactly into deltas before their timeframe sees them."""

FLOWS: Final[tuple[Flow, ...]] = get_args(Flow)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and thresholds. Shares are of the tightest bound on memory.

    `floor` is the least share of what was configured that anything is squeezed to, `ceiling` the largest multiple a
    mailbox is stretched to, `order` what gives way first, second, and so on. Only mailboxes below `vital` (paths'
    beginnings) are strain.
    """

    high: float = 0.85
    low: float = 0.70
    critical: float = 0.95
    recover_ns: int = 10_000_000_000
    floor: float = 1 / 16
    ceiling: float = 4.0
    order: tuple[Flow, ...] = FLOWS
    vital: tuple[str, ...] = ("/",)

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high <= self.critical:
            raise ValueError(f"low {self.low}, high {self.high} and critical {self.critical} must rise, from above 0")
        if not 0 < self.floor <= 1 <= self.ceiling:
            raise ValueError(f"floor {self.floor} must be above 0 and at most 1, ceiling {self.ceiling} at least 1")

    @property
    def most_squeezed(self) -> int:
        """How many halvings there are at most."""
        return max((1 / self.floor).__ceil__() - 1, 0).bit_length()

    @property
    def most_stretched(self) -> int:
        """How many doublings there are at most."""
        return int(self.ceiling).bit_length() - 1


class Look(msgspec.Struct, frozen=True):
    """What was seen at one time (monotonic ns)."""

    now_ns: int
    memory: Memory
    boxes: Mapping[str, Box] = {}


class Pressure(msgspec.Struct, frozen=True):
    """What is in force: halvings, doublings by mailbox, how many of the order give way; since when things are better.

    A `since` of 0 means that they are not.
    """

    squeeze: int = 0
    stretched: dict[str, int] = {}
    yielding: int = 0
    plenty_since_ns: int = 0
    calm_since_ns: int = 0
    quiet_since_ns: dict[str, int] = {}
    watched: Watched = Watched()
    memory: Memory = Memory()
    decisions: int = 0


class Squeezed(msgspec.Struct, frozen=True):
    """Everything that can be halved is at another share of what was configured."""

    before: int
    after: int
    cause: str


class Stretched(msgspec.Struct, frozen=True):
    """A mailbox is at another multiple of its configured capacity."""

    path: str
    before: int
    after: int
    cause: str


class Yielded(msgspec.Struct, frozen=True):
    """A flow gives way from now on, or (`back`) does so no longer."""

    flow: Flow
    back: bool
    cause: str


Told: TypeAlias = Squeezed | Stretched | Yielded | Began | Ended


def decide(policy: Policy, before: Pressure, look: Look) -> tuple[Pressure, tuple[Told, ...]]:
    """Return what is in force after a look, and what that changes, with the causes."""
    now = look.now_ns
    watched, events = watch(before.watched, look.boxes, now, policy.recover_ns)
    told: list[Told] = list(events)
    squeeze, plenty = _squeeze(policy, before, look, told)
    stretched, quiet = _stretch(policy, before, look, watched, squeeze, told)
    yielding, calm = _yield(policy, before, look, watched, told)
    decided = sum(not isinstance(each, Began | Ended) for each in told)
    after = Pressure(
        squeeze, stretched, yielding, plenty, calm, quiet, watched, look.memory, before.decisions + decided
    )
    return after, tuple(told)


def _squeeze(policy: Policy, before: Pressure, look: Look, told: list[Told]) -> tuple[int, int]:
    tightest = look.memory.tightest
    squeeze, since = before.squeeze, 0
    if tightest is None:
        return squeeze, since
    if tightest.share >= policy.critical:
        squeeze = policy.most_squeezed
    elif tightest.share >= policy.high:
        squeeze = min(squeeze + 1, policy.most_squeezed)
    elif tightest.share <= policy.low:
        since = before.plenty_since_ns or look.now_ns
        if squeeze and look.now_ns - since >= policy.recover_ns:
            squeeze, since = squeeze - 1, look.now_ns
    if squeeze != before.squeeze:
        told.append(Squeezed(before.squeeze, squeeze, str(tightest)))
    return squeeze, since


def _stretch(
    policy: Policy, before: Pressure, look: Look, watched: Watched, squeeze: int, told: list[Told]
) -> tuple[dict[str, int], dict[str, int]]:
    tightest = look.memory.tightest
    plenty = tightest is not None and tightest.share <= policy.low and not squeeze
    stretched: dict[str, int] = {}
    quiet: dict[str, int] = {}
    for path in look.boxes:
        now = was = before.stretched.get(path, 0)
        episode = watched.episodes.get(path)
        cause = ""
        if tightest is not None and not plenty:
            now, cause = 0, str(tightest)
        elif plenty and episode is not None and not episode.room_since_ns:
            now, cause = min(was + 1, policy.most_stretched), f"it overflows, and memory is at {tightest}"
        elif episode is None and was:
            quiet[path] = before.quiet_since_ns.get(path, look.now_ns)
            if look.now_ns - quiet[path] >= policy.recover_ns:
                now, cause = was - 1, "it does not overflow any more"
                quiet[path] = look.now_ns
        if now != was:
            told.append(Stretched(path, was, now, cause))
        if now:
            stretched[path] = now
    return stretched, quiet


def _yield(policy: Policy, before: Pressure, look: Look, watched: Watched, told: list[Told]) -> tuple[int, int]:
    cause = _strain(policy, look, watched)
    yielding, since = before.yielding, 0
    if cause:
        if yielding < len(policy.order):
            told.append(Yielded(policy.order[yielding], back=False, cause=cause))
            yielding += 1
    else:
        since = before.calm_since_ns or look.now_ns
        if yielding and look.now_ns - since >= policy.recover_ns:
            yielding, since = yielding - 1, look.now_ns
            told.append(Yielded(policy.order[yielding], back=True, cause="there has been no strain for a while"))
    return yielding, since


def _strain(policy: Policy, look: Look, watched: Watched) -> str:
    tightest = look.memory.tightest
    if tightest is not None and tightest.share >= policy.high:
        return str(tightest)
    for path, episode in watched.episodes.items():
        if not episode.room_since_ns and path.startswith(policy.vital):
            return f"{path} overflows"
    return ""


def gives_way(policy: Policy, state: Pressure, flow: Flow) -> bool:
    """Return whether a flow gives way."""
    return flow in policy.order[: state.yielding]


def capacity(policy: Policy, state: Pressure, path: str, configured: int, *, merges: bool = False) -> int:
    """Return the capacity a mailbox is to have. One that `merges` is squeezed only where trades give way."""
    squeezed = state.squeeze if not merges or gives_way(policy, state, "trades") else 0
    return scaled(policy, configured << state.stretched.get(path, 0), squeezed)


def scaled(policy: Policy, configured: int, squeeze: int) -> int:
    """Return what is left of a configured number after so many halvings: never below its floor, never below 1."""
    return max(configured >> squeeze, int(configured * policy.floor), 1)
