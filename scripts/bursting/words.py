"""What the parent and the session under strain say to one another: a line of JSON each."""

from __future__ import annotations

import msgspec


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is to do: settings as `section.key=value`, its limits, and who is slow.

    `address_mb` is `RLIMIT_AS`; `delays` are seconds an actor (path) dawdles over each batch.
    """

    settings: tuple[str, ...]
    address_mb: int
    delays: dict[str, float]
    subscriber_capacity: int = 20


class Box(msgspec.Struct, frozen=True):
    """A mailbox's account at the end: what gave way there, and whether every message is accounted for."""

    path: str
    put: int
    conflated: int
    dropped: int
    high_water: int
    capacity: int
    balanced: bool


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the child says: how many prints it has received, and at the end everything.

    `beats` are those of its connection's event loop, `stall_ms` the longest time that one was late,
    `own_ms` the same without what the machine gave to others; `resident_mb` and
    `address_mb` are the most memory it ever had, resident and as address space; `base_mb` what was resident before
    the burst. `published` bars went to each subscriber; the one that sleeps dropped some and held the rest.
    """

    received: int = 0
    over: bool = False
    lost: int = 0
    rejected: int = 0
    quarantined: int = 0
    gaps: int = 0
    restarts: int = 0
    bars: int = 0
    digest: str = ""
    base_mb: float = 0.0
    resident_mb: float = 0.0
    address_mb: float = 0.0
    beats: int = 0
    stall_ms: float = 0.0
    own_ms: float = 0.0
    boxes: tuple[Box, ...] = ()
    published: int = 0
    subscriber_dropped: int = 0
    subscriber_held: int = 0
