"""The pressure actor: looks, decides, moves the limits, and says what it did and why.

It is the only one that reads the machine. What it decides is in `control`, what it can move in `levers`; here they meet
the clock, the tree's view of itself, and those who want to know: health, statistics, the bus, the log.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tickloom.actors.pressure.boxes import Began, Box, Ended, stuck, words
from tickloom.actors.pressure.control import Look, Policy, Pressure, Squeezed, Stretched, Told, Yielded, decide
from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.actors.pressure.levers import Levers
from tickloom.actors.pressure.readings import Memory
from tickloom.messages.reports import Report, Strain
from tickloom.supervision import NOTHING, Actor, ActorContext, ActorView, Event, Ref


class Strike(msgspec.Struct, frozen=True):
    """What the actor tells itself when it is time to look."""


STRIKE: Final = Strike()


def box_of(view: ActorView) -> Box:
    """Return what a view says of an actor's mailbox."""
    counters = view.counters
    assert counters is not None
    return Box(
        depth=view.depth,
        capacity=view.capacity,
        merged=counters.conflated,
        dropped=counters.dropped_oldest + counters.dropped_newest,
        refused=counters.refused,
        held=counters.declined,
        waiting=counters.waiting,
        done=view.handled + view.emitted + view.quarantined + counters.control_taken,
        unemitted=view.unemitted,
        idle=view.state != "running" or view.breaker not in (None, "closed"),
    )


class PressureActor(Actor):
    """Looks every `interval` seconds of the tree's clock.

    Args:
        policy: when to decide what.
        memory: reads memory.
        look: the tree as it is.
        levers: puts limits into force.
        health, statistics: told after each look; `statistics` None: nobody counts.
        folders: whose disks are watched.
        stuck_ns: how long an actor may have something to do and do nothing.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        context: ActorContext,
        *,
        policy: Policy,
        memory: Callable[[], Memory],
        look: Callable[[], ActorView],
        levers: Levers,
        health: Ref,
        statistics: Ref | None,
        folders: tuple[Path, ...],
        stuck_ns: int,
        interval: float,
    ) -> None:
        super().__init__(context)
        kept = context.recall()
        self._pressure: Pressure = Pressure() if kept is NOTHING else kept
        self._policy = policy
        self._memory = memory
        self._look = look
        self._levers = levers
        self._health = health
        self._statistics = statistics
        self._folders = folders
        self._stuck_ns = stuck_ns
        self._interval = interval

    def on_start(self) -> None:
        """Begin to look."""
        self.context.send_after(self._interval, STRIKE)

    def on_control(self, message: Any) -> Any:
        """Look, having armed the next look first: one that fails must not be the last. Other asks get the state."""
        if not isinstance(message, Strike):
            return self._pressure
        self.context.send_after(self._interval, STRIKE)
        now = self.context.clock.monotonic_ns()
        boxes = {v.path: box_of(v) for v in self._look().walk() if v.counters is not None and v.path != self.path}
        self._pressure, told = decide(self._policy, self._pressure, Look(now, self._memory(), boxes))
        self.context.commit(self._pressure)
        for each in told:
            self.context.publish(self._event(each))
        self._levers.pull(self._policy, self._pressure)
        self._health.offer(self._strain(now))
        if self._statistics is not None:
            self._statistics.offer(report(self.path, self._pressure))
        return None

    def _strain(self, now_ns: int) -> Strain:
        state, tightest = self._pressure, self._pressure.memory.tightest
        free, missing = disks(self._folders)
        return Strain(
            memory=None if tightest is None else tightest.share,
            memory_words=str(tightest or ""),
            overflowing={path: words(episode.counts()) for path, episode in state.watched.episodes.items()},
            stuck=stuck(state.watched, now_ns, self._stuck_ns),
            disk_free=free,
            yielding=self._policy.order[: state.yielding],
            missing=(*state.memory.missing, *missing),
        )

    def _event(self, told: Told) -> Event:
        at_ns = self.context.clock.wall_ns()
        match told:
            case Began():
                return OverflowBegan(path=told.path, at_ns=at_ns, capacity=told.capacity, account=words(told.counts))
            case Ended():
                return OverflowEnded(path=told.path, at_ns=at_ns, seconds=told.seconds, account=words(told.counts))
            case Stretched():
                before, after = f"{2**told.before} times", f"{2**told.after} times"
                return LimitChanged(
                    path=told.path, at_ns=at_ns, limit="mailbox", before=before, after=after, cause=told.cause
                )
            case Squeezed():
                before, after = f"1/{2**told.before}", f"1/{2**told.after}"
                limit = "mailboxes, history and files"
                return LimitChanged(
                    path=self.path, at_ns=at_ns, limit=limit, before=before, after=after, cause=told.cause
                )
            case Yielded():
                return FlowYielded(path=self.path, at_ns=at_ns, flow=told.flow, back=told.back, cause=told.cause)


def report(path: str, state: Pressure) -> Report:
    """Return what statistics are told: totals, and where the limits are. The totals survive restarts."""
    gauges: dict[str, float] = {
        "halvings": state.squeeze,
        "stretched_mailboxes": len(state.stretched),
        "flows_yielding": state.yielding,
        "overflowing_mailboxes": len(state.watched.episodes),
    }
    tightest = state.memory.tightest
    if tightest is not None:
        gauges["memory_used_ratio"] = tightest.share
    if state.memory.resident is not None:
        gauges["resident_bytes"] = state.memory.resident
    return Report(path, 0, {"decisions": state.decisions, "overflows": state.watched.overflows}, gauges=gauges)


def disks(folders: tuple[Path, ...]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the free bytes under each folder, and a sentence for each that cannot be looked at."""
    free: dict[str, int] = {}
    missing: list[str] = []
    for folder in folders:
        try:
            free[str(folder)] = shutil.disk_usage(folder).free
        except OSError as error:
            missing.append(f"the disk under {folder} cannot be looked at: {error.strerror or error}")
    return free, tuple(missing)
