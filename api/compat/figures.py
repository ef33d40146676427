"""Health and figures in the other library's shapes, from a session's own.

Keys are those of project-x-py 4.4.1's `RealtimeDataManagerStats` and `ComponentStats`. A key that speaks of machinery
that does not exist here (locks, overflow files) is there and says so with zero or an empty mapping.
"""

from __future__ import annotations

from typing import Any, Final

from tickloom.messages.reports import Health, Statistics
from tickloom.supervision import ActorView

SCORES: Final = {"healthy": 100.0, "degraded": 60.0, "unhealthy": 0.0}
"""Points by status. The other library weighs errors, uptime and activity; health here is a verdict with reasons."""

MB: Final = 1_048_576


def memory_stats(
    *,
    statistics: Statistics,
    health: Health,
    view: ActorView,
    counts: dict[str, dict[str, int]],
    stored: dict[str, tuple[int, int]],
    seconds: float,
    last_update: str | None,
    dropped: int,
    interruptions: int,
    contract: str,
) -> dict[str, Any]:
    """Return `get_memory_stats`.

    Args:
        statistics, health, view: the session's.
        counts: bars and updates told, by timeframe name.
        stored: rows and bytes of each frame, by timeframe name.
        seconds: since the manager was made. last_update: when bars last came, ISO.
        dropped: bars that went because callbacks were slow. interruptions: how often the link broke.
        contract: the contract's id.
    """
    updates = sum(each["updates"] + each["bars"] for each in counts.values())
    return {
        "bars_processed": sum(each["bars"] for each in counts.values()),
        "ticks_processed": statistics.ticks,
        "quotes_processed": 0,
        "trades_processed": statistics.ticks,
        "timeframe_stats": {name: dict(each) for name, each in counts.items()},
        "avg_processing_time_ms": statistics.latency.p50_ms,
        "data_latency_ms": health.feed_delay_ms.get(contract, 0.0),
        "buffer_utilization": max((each.depth / each.capacity for each in view.walk() if each.capacity), default=0.0),
        "total_bars_stored": sum(rows for rows, _ in stored.values()),
        "memory_usage_mb": sum(size for _, size in stored.values()) / MB,
        "compression_ratio": 1.0,
        "updates_per_minute": updates / (seconds / 60.0) if seconds > 0 else 0.0,
        "last_update": last_update,
        "data_freshness_seconds": health.staleness.get(contract, 0.0),
        "data_validation_errors": sum(statistics.rejected.values()),
        "connection_interruptions": interruptions,
        "recovery_attempts": sum(each.restarts for each in view.walk()),
        "overflow_stats": {},
        "buffer_overflow_stats": {"dropped_bars": dropped},
        "lock_optimization_stats": {},
    }
