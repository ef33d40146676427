"""How pressure is wired: from the settings to the actor that looks at memory and mailboxes and moves the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

import msgspec

from tickloom.actors.pressure.control import Flow, Policy
from tickloom.actors.pressure.levers import Configured, Levers, Resize
from tickloom.actors.pressure.readings import MemoryProbe
from tickloom.actors.pressure.shell import PressureActor
from tickloom.config.settings import Settings
from tickloom.supervision import ActorContext, ActorView, MailboxSpec, Ref

MANAGED: Final = ("/pipeline/", "/observers/", "/recorder")
"""Beginnings of the paths whose mailboxes are squeezed and stretched: those that data flows through."""

VITAL: Final = ("/pipeline/", "/recorder", "/observers/history", "/observers/parquet", "/observers/publisher")
"""Beginnings of the paths whose overflow makes flows give way."""

LEAST: Final = 32
"""Mailboxes configured smaller than this are for control messages, and left alone."""

MIB: Final = 2**20


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where those are that pressure tells of its limits and readings; None: there is none."""

    history: str
    publisher: str
    health: str
    files: str | None
    statistics: str | None
    timeframes: Callable[[], tuple[str, ...]]
    hub: str | None = None


def policy_of(settings: Settings) -> Policy:
    """Return when what gives way, as the settings say; while the flag is off, nothing does."""
    p = settings.pressure
    thresholds = {"high": p.memory_high, "low": p.memory_low, "critical": p.memory_critical}
    recover_ns = round(p.recover_s * 1e9)
    if not settings.flags.dynamic_limits:
        return Policy(**thresholds, recover_ns=recover_ns, floor=1.0, ceiling=1.0, order=(), vital=VITAL)
    order = cast("tuple[Flow, ...]", p.order)
    return Policy(**thresholds, recover_ns=recover_ns, floor=p.floor, ceiling=p.ceiling, order=order, vital=VITAL)


def configured(settings: Settings, mailboxes: Mapping[str, MailboxSpec]) -> Configured:
    """Return the limits without pressure."""
    managed = {path: spec for path, spec in mailboxes.items() if path.startswith(MANAGED) and spec.capacity >= LEAST}
    return Configured(
        mailboxes=managed,
        max_batch=settings.mailboxes.max_batch if settings.flags.batch_draining else 1,
        history_rows=settings.history.rows,
        history_bytes=settings.history.megabytes * MIB,
        roll_rows=settings.sinks.roll_rows,
    )


def pressure_actor(
    settings: Settings,
    *,
    mailboxes: Mapping[str, MailboxSpec],
    look: Callable[[], ActorView],
    resize: Resize,
    paths: Paths,
) -> Callable[[ActorContext], PressureActor]:
    """Return what makes the pressure actor.

    Args:
        settings: the bounds and thresholds.
        mailboxes: of the whole tree, by path.
        look: shows the tree as it is.
        resize: changes the bounds of a mailbox, by path.
        paths: whom to tell.
    """
    limits, policy = configured(settings, mailboxes), policy_of(settings)
    folders = tuple(Path(each) for each in (settings.recorder.dir, settings.sinks.out) if each)

    def start(context: ActorContext) -> PressureActor:
        def ref(path: str | None) -> Ref | None:
            return None if path is None else context.ref(path)

        levers = Levers(
            limits,
            resize=resize,
            history=context.ref(paths.history),
            publisher=context.ref(paths.publisher),
            files=ref(paths.files),
            timeframes=lambda: [context.ref(path) for path in paths.timeframes()],
            hub=ref(paths.hub),
        )
        return PressureActor(
            context,
            policy=policy,
            memory=MemoryProbe(settings.pressure.memory_mb * MIB).read,
            look=look,
            levers=levers,
            health=context.ref(paths.health),
            statistics=ref(paths.statistics),
            folders=folders,
            stuck_ns=settings.health.stuck_ms * 1_000_000,
            interval=settings.pressure.interval_ms / 1000,
        )

    return start
