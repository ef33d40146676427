"""What actors tell statistics and health about themselves, and what those two tell the outside.

Reports are cumulative since the incarnation began (`epoch`), so a lost report costs nothing and a repeated one
counts once.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class Report(msgspec.Struct, frozen=True):
    """An actor's counters since its incarnation began.

    `latency` holds (bucket, count) pairs of a `Histogram`, in nanoseconds from receipt to the update of a bar. `gauges`
    are values as they are just now. `contracts` has (accepted, rejected) prints by contract.
    """

    source: str
    epoch: int
    counters: dict[str, int] = {}
    latency: tuple[tuple[int, int], ...] = ()
    max_ns: int = 0
    gauges: dict[str, float] = {}
    contracts: dict[str, tuple[int, int]] = {}


class LinkState(msgspec.Struct, frozen=True):
    """A hub connection's state as its actor sees it. `detail` is a sentence without secrets; `refused` says that a
    link is lost because the gateway refused what was asked for, and not because it is away.
    """

    hub: str
    state: Literal["connecting", "up", "down", "lost"]
    detail: str = ""
    round_trip_ns: int = 0
    refused: bool = False


class FeedState(msgspec.Struct, frozen=True):
    """How fresh each contract is: (contract, newest event stamp, last receipt), both in ns."""

    contracts: tuple[tuple[str, int, int], ...]


class TokenState(msgspec.Struct, frozen=True):
    """The token as its actor sees it: `expires_ns` 0 means there is none."""

    expires_ns: int
    detail: str = ""


class ClockState(msgspec.Struct, frozen=True):
    """What the gateway's answers say of our clock: it is ahead of theirs by `low_ns` to `high_ns`."""

    low_ns: int
    high_ns: int


class RecorderState(msgspec.Struct, frozen=True):
    """Whether the log is being written; `detail` says what is wrong."""

    writing: bool
    detail: str = ""


class ActorState(msgspec.Struct, frozen=True):
    """A supervision event worth knowing: an actor failed, came back, or its breaker changed."""

    path: str
    state: Literal["failed", "restarted", "breaker_open", "breaker_half_open", "breaker_closed", "stopped"]
    detail: str = ""


class Withheld(msgspec.Struct, frozen=True):
    """Prints that an actor put in quarantine because its fold failed on them: `path` is the actor's, `error` says
    why."""

    path: str
    prints: int
    error: str


class Strain(msgspec.Struct, frozen=True):
    """What machine and mailboxes are under.

    `memory` is the share used of the tightest bound on it (None: none can be read), with the words for it.
    `overflowing` says by path what has become of messages without room, `stuck` how long (s) an actor has had something
    to do and done nothing, `disk_free` the bytes free under each folder; `yielding` are the flows that give way;
    `missing` says what could not be read.
    """

    memory: float | None = None
    memory_words: str = ""
    overflowing: dict[str, str] = {}
    stuck: dict[str, float] = {}
    disk_free: dict[str, int] = {}
    yielding: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


HealthInput: TypeAlias = LinkState | FeedState | TokenState | ClockState | RecorderState | ActorState | Strain | Report


class Health(msgspec.Struct, frozen=True):
    """The session's health in one word, with the reasons in words.

    `staleness` is seconds since the last print by contract; `feed_delay_ms` receipt minus event stamp of the newest
    print, with the offset of our clock taken out; that offset is `clock_offset_ms` (ours minus theirs, as far as it is
    known); `round_trip_ms` that of the last WebSocket ping by hub; `token_seconds` the time left on the token (None: no
    token is needed). `memory` is the share used of the tightest bound on memory (None: it cannot be read), `disk_free`
    bytes free by folder, `yielding` what gives way. `missing` says what health cannot see.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    reasons: tuple[str, ...] = ()
    since_ns: int = 0
    links: dict[str, str] = {}
    staleness: dict[str, float] = {}
    feed_delay_ms: dict[str, float] = {}
    token_seconds: float | None = None
    round_trip_ms: dict[str, float] = {}
    clock_offset_ms: float = 0.0
    memory: float | None = None
    disk_free: dict[str, int] = {}
    yielding: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class Latency(msgspec.Struct, frozen=True):
    """Percentiles of receipt-to-bar latency in milliseconds, and how many trades they speak of."""

    trades: int = 0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0


class Statistics(msgspec.Struct, frozen=True):
    """A snapshot of the session's counters. Of fixed size, whatever the uptime.

    `counters` are totals by actor path and name; `ticks_per_second` is over the last ten seconds; `latency` is that
    of the slowest timeframe since the start, `latency_by_source` each one's, `latency_recent` each one's of the last
    one to two minutes. `gauges` are the latest values by actor path and name,
    `contracts` the prints `accepted` and `rejected` of each contract (of those beyond a cap together, under ""),
    `outside` those in final bars that came between two sittings of their calendar, likewise.
    """

    seconds: float = 0.0
    ticks: int = 0
    ticks_per_second: float = 0.0
    rejected: dict[str, int] = {}
    counters: dict[str, dict[str, int]] = {}
    latency: Latency = Latency()
    latency_by_source: dict[str, Latency] = {}
    sources_refused: int = 0
    latency_recent: dict[str, Latency] = {}
    gauges: dict[str, dict[str, float]] = {}
    contracts: dict[str, dict[str, int]] = {}
    outside: dict[str, int] = {}
