"""The thirteen feature flags: one for each known failure this project answers, each of which can be turned off alone.

A flag that is off takes its answer out and nothing else: bars stay right, the session runs. The order is that of
the table in the design; the description of each says what is different when it is off.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tickloom.config.fields import Section


class FlagsSettings(Section, frozen=True, kw_only=True):
    """One flag for each of the thirteen failures; off takes that answer out, alone. What each costs is in
    `docs/rollback.md`.
    """

    token_redaction: Annotated[
        bool,
        Meta(
            description="1, JWT in logs. Off: the redacting filter on log handlers is not installed; tokens still live "
            "in an opaque type and travel in the header."
        ),
    ] = True
    seamless_renewal: Annotated[
        bool,
        Meta(
            description="2, token refresh. Off: a renewal closes the connection and opens another; the time between is "
            "a gap."
        ),
    ] = True
    task_accounting: Annotated[
        bool,
        Meta(
            description="3, leaked tasks. Off: threads, tasks, sockets and files are not counted by owner; all are "
            "still owned and stopped."
        ),
    ] = True
    batch_bisection: Annotated[
        bool,
        Meta(
            description="4, half-done updates. Off: a batch that fails goes to quarantine whole instead of its guilty "
            "rows only; a failed batch still changes nothing."
        ),
    ] = True
    exact_conflation: Annotated[
        bool,
        Meta(
            description="5, buffer overflow. Off: a full timeframe mailbox holds its sender back instead of conflating."
        ),
    ] = True
    connection_health: Annotated[
        bool,
        Meta(
            description="6, blind connection health. Off: no staleness or delay is judged, no round trip measured, and "
            "none causes a reconnect; a server timeout still does."
        ),
    ] = True
    circuit_breaker: Annotated[
        bool,
        Meta(
            description="7, no circuit breaker. Off: a failing actor is restarted with backoff for as long as it fails."
        ),
    ] = True
    bounded_statistics: Annotated[
        bool,
        Meta(
            description="8, statistics that grow. Off: no statistics are kept beyond the counters of the summary; no "
            "latency is measured."
        ),
    ] = True
    batch_draining: Annotated[
        bool,
        Meta(
            description="9, lock contention. Off: an actor takes one message at a time from its mailbox; same bars, "
            "slower."
        ),
    ] = True
    validation: Annotated[
        bool,
        Meta(
            description="10, unvalidated data. Off: only rows of which no bar can be made are rejected (no number, off "
            "the grid, unknown contract, a stamp too far off); jumps, large and repeated prints pass."
        ),
    ] = True
    columnar: Annotated[
        bool,
        Meta(description="11, DataFrame churn. Off: batches of any size take the row by row path; same bars, slower."),
    ] = True
    dynamic_limits: Annotated[
        bool,
        Meta(description="12, fixed limits. Off: capacities stay as configured, whatever the memory pressure."),
    ] = True
    session_calendars: Annotated[
        bool,
        Meta(description="13, DST. Off: every contract has the `utc` calendar: days from midnight to midnight UTC."),
    ] = True
