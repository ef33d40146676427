"""The sections of the settings: every key with its type, default, limits and meaning.

A section is a value that has been checked. What needs more than one key of a section is checked here too; what needs
more than one section is checked in `tickloom.config.settings`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tickloom.config.fields import Section, SettingsError
from tickloom.config.flags import FlagsSettings
from tickloom.config.timeframes import DEFAULT, TimeframeError, parse_timeframes


class GatewaySettings(Section, frozen=True, kw_only=True):
    """The ProjectX gateway: where it is and how to speak to it. One firm, one set of addresses."""

    api_url: Annotated[str, Meta(description="REST base address.")] = "https://api.topstepx.com"
    market_hub_url: Annotated[str, Meta(description="Address of the market hub (quotes, trades, depth).")] = (
        "https://rtc.topstepx.com/hubs/market"
    )
    user_hub_url: Annotated[str, Meta(description="Address of the user hub (accounts, orders, positions).")] = (
        "https://rtc.topstepx.com/hubs/user"
    )
    auth_transport: Annotated[
        Literal["header", "query"],
        Meta(
            description="Where the token travels. `query` puts it into the URL, where proxies and servers log it: "
            "only for a gateway that takes nothing else."
        ),
    ] = "header"
    live: Annotated[bool, Meta(description="Ask for live data; practice and evaluation accounts need false.")] = False
    accounts: Annotated[
        tuple[int, ...],
        Meta(description="Account ids to follow on the user hub; empty: the user hub is not connected."),
    ] = ()
    negotiate: Annotated[
        bool, Meta(description="Negotiate before connecting; false goes straight to the WebSocket.")
    ] = True
    stateful_reconnect: Annotated[
        bool,
        Meta(
            description="Ask, when negotiating, that a cut connection may be resumed with nothing lost; a gateway that "
            "does not offer it goes on without."
        ),
    ] = True
    ca_file: Annotated[
        str, Meta(description="PEM file with the authorities to trust instead of the system's; empty: the system's.")
    ] = ""
    connect_timeout_s: Annotated[float, Meta(description="Longest a connection attempt may take.", ge=0.1, le=300)] = (
        10.0
    )
    request_timeout_s: Annotated[float, Meta(description="Longest a REST call may take.", ge=0.1, le=300)] = 15.0
    keepalive_s: Annotated[
        float, Meta(description="A ping is sent after this long without sending.", ge=0.1, le=300)
    ] = 15.0
    server_timeout_s: Annotated[
        float, Meta(description="A server silent for this long is taken for dead.", ge=0.2, le=600)
    ] = 30.0
    silence_s: Annotated[
        float,
        Meta(
            description="A contract silent for this long while its market is open gets a new connection, beside the "
            "old one; the wait doubles while that changes nothing. 0: never.",
            ge=0,
            le=86_400,
        ),
    ] = 60.0
    reconnect_base_s: Annotated[
        float, Meta(description="First wait before a reconnect; it doubles with each failure.", ge=0.01, le=60)
    ] = 0.5
    reconnect_cap_s: Annotated[float, Meta(description="Longest wait between reconnects.", ge=0.1, le=3600)] = 30.0
    renew_at: Annotated[
        float, Meta(description="Renew the token when this share of its life has passed.", ge=0.1, le=0.99)
    ] = 0.75
    max_message_kb: Annotated[int, Meta(description="Largest message accepted from a hub.", ge=64, le=1_048_576)] = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("api_url", "market_hub_url", "user_hub_url"):
            check_url(getattr(self, name), f"gateway.{name}", websocket=name != "api_url")
        if self.server_timeout_s <= self.keepalive_s:
            raise SettingsError(
                f"gateway.server_timeout_s is {self.server_timeout_s:g}; it must be longer than "
                f"gateway.keepalive_s ({self.keepalive_s:g})",
                "gateway.server_timeout_s",
            )
        if self.reconnect_cap_s < self.reconnect_base_s:
            raise SettingsError(
                f"gateway.reconnect_cap_s is {self.reconnect_cap_s:g}; it must not be below "
                f"gateway.reconnect_base_s ({self.reconnect_base_s:g})",
                "gateway.reconnect_cap_s",
            )


def check_url(url: str, key: str, *, websocket: bool) -> None:
    """Refuse an address that is none, carries credentials, or is plain text to somewhere else than this machine.

    Raises:
        SettingsError: one sentence, without the address's user, password or query.
    """
    schemes = ("https", "wss", "http", "ws") if websocket else ("https", "http")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(f"{key} is not an address: write it like https://host/path", key) from None
    if parts.scheme not in schemes or not host:
        raise SettingsError(f"{key} is not an address that starts with {'://, '.join(schemes)}://", key)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise SettingsError(f"{key} carries a user, a query or a fragment: give the bare address of {host}", key)
    if parts.scheme in ("http", "ws") and not is_loopback(host):
        raise SettingsError(
            f"{key} is plain text ({parts.scheme}) to {host}: the token would travel in the clear; use "
            f"{parts.scheme}s (plain text is allowed to this machine only)",
            key,
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by definition: `localhost`, 127.0.0.0/8 or ::1. Names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class SessionSettings(Section, frozen=True, kw_only=True):
    """What is followed, which bars are built, and how time closes them."""

    contracts: Annotated[tuple[str, ...], Meta(description='Contract ids, like "CON.F.US.MNQ.Z25".')] = ()
    timeframes: Annotated[
        tuple[str, ...],
        Meta(
            description='Timeframes: `<n>` and s, m, h, d, w, mo, t (ticks) or v (volume), or long names like "1min".'
        ),
    ] = DEFAULT
    grace_ms: Annotated[
        int, Meta(description="How long after its end a bar waits for ticks still on their way.", ge=0, le=60_000)
    ] = 250
    lateness_ms: Annotated[
        int,
        Meta(
            description="How far behind the newest stamp a tick may come and still revise its bar.", ge=0, le=86_400_000
        ),
    ] = 10_000
    beat_ms: Annotated[
        int, Meta(description="The clock's beat: how promptly bars close in a quiet market.", ge=10, le=10_000)
    ] = 250
    emit_empty: Annotated[
        bool,
        Meta(
            description="Emit flat bars, flagged empty, at the last close: one for each bucket between two bars of a "
            "session in which the market is open at any time, also across breaks, sittings and days. They come with "
            "the bar after them, and change with the one before; of more than 3,600 in a row the newest 3,600."
        ),
    ] = False
    heal_gaps: Annotated[
        bool, Meta(description="Fetch what a gap lost from the gateway's history and mark those bars healed.")
    ] = True
    heal_delay_s: Annotated[
        float,
        Meta(description="How long after a missing stretch has ended history is asked for it: it lags.", ge=0, le=3600),
    ] = 3.0
    heal_patience_s: Annotated[
        int,
        Meta(
            description="How long bars with a gap wait for history before they are final as they are.", ge=1, le=86_400
        ),
    ] = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            frames = tuple(str(frame) for frame in parse_timeframes(self.timeframes))
        except TimeframeError as error:
            raise SettingsError(f"session.timeframes: {error}", "session.timeframes") from None
        msgspec.structs.force_setattr(self, "timeframes", frames)
        contracts = tuple(dict.fromkeys(contract.strip() for contract in self.contracts))
        if any(not contract or any(mark in contract for mark in "/\\\0 ") for contract in contracts):
            raise SettingsError(
                'session.contracts has an id that is empty or has a space or a slash: write it like "CON.F.US.MNQ.Z25"',
                "session.contracts",
            )
        msgspec.structs.force_setattr(self, "contracts", contracts)


class RecorderSettings(Section, frozen=True, kw_only=True):
    """The message log."""

    dir: Annotated[str, Meta(description="Folder of the message log; empty: nothing is recorded.")] = ""
    batch_rows: Annotated[int, Meta(description="Rows at which a batch is written.", ge=1, le=1_048_576)] = 4096
    batch_ms: Annotated[
        int, Meta(description="Age of its oldest row at which a batch is written, however small.", ge=1, le=10_000)
    ] = 50
    sync_ms: Annotated[
        int,
        Meta(
            description="Longest that written rows wait for the disk: what a power failure may lose.", ge=1, le=60_000
        ),
    ] = 500
    checkpoint_s: Annotated[
        int,
        Meta(
            description="Pause between checkpoints: the next session starts from one, not from the log alone.",
            ge=1,
            le=86_400,
        ),
    ] = 60
    segment_mb: Annotated[int, Meta(description="Size at which a segment file ends.", ge=1, le=65_536)] = 256
    segment_minutes: Annotated[
        int, Meta(description="Age at which a segment file ends, however small.", ge=1, le=10_080)
    ] = 60
    retention_mb: Annotated[
        int,
        Meta(description="Oldest segments are deleted above this total; 0: no limit by size.", ge=0, le=1_073_741_824),
    ] = 20_480
    retention_hours: Annotated[
        int, Meta(description="Segments older than this are deleted; 0: no limit by age.", ge=0, le=876_000)
    ] = 0
    compression: Annotated[
        Literal["zstd", "lz4", "none"], Meta(description="zstd is smaller, lz4 is read in a third of the CPU time.")
    ] = "zstd"


class SinksSettings(Section, frozen=True, kw_only=True):
    """Parquet output: bars under `OUT/bars/`, rejected rows under `OUT/rejects/`."""

    out: Annotated[str, Meta(description="Output folder; empty: no files.")] = ""
    roll_rows: Annotated[int, Meta(description="Bars at which a file is finished.", ge=1, le=100_000_000)] = 100_000
    roll_minutes: Annotated[
        int, Meta(description="Age at which a file is finished, however small.", ge=1, le=10_080)
    ] = 60


class ValidationSettings(Section, frozen=True, kw_only=True):
    """The rules a print must pass. What fails goes to the rejects with the rule's name."""

    band: Annotated[
        float,
        Meta(
            description="Largest move from the last accepted price, as a fraction of it, that passes unconfirmed.",
            ge=0.0001,
            le=10,
        ),
    ] = 0.10
    band_ticks: Annotated[
        int, Meta(description="The band is never narrower than this many ticks.", ge=1, le=1_000_000)
    ] = 100
    confirm: Annotated[
        int, Meta(description="Prints in a row, near one another, that make a move of a jump.", ge=1, le=1000)
    ] = 3
    max_size: Annotated[int, Meta(description="Largest size of a print.", ge=1, le=1_000_000_000)] = 1_000_000
    zero_size: Annotated[
        Literal["accept", "reject"],
        Meta(description="Prints of size 0: accepted ones count in open, high, low and close, and add no volume."),
    ] = "accept"
    future_ms: Annotated[
        int, Meta(description="How far ahead of its receipt a stamp may lie.", ge=0, le=86_400_000)
    ] = 5000
    max_age_ms: Annotated[
        int,
        Meta(
            description="How far behind its receipt a stamp may lie; 0: any distance, so that a feed that stalls loses "
            "nothing.",
            ge=0,
            le=86_400_000,
        ),
    ] = 0
    regressing: Annotated[
        Literal["accept", "reject"], Meta(description="Prints stamped before the newest of their contract.")
    ] = "accept"
    duplicates: Annotated[
        Literal["accept", "reject"],
        Meta(
            description="Prints equal in stamp, price, size and side to one with the newest stamp. Real markets have "
            "them; a gateway that sends twice does, too."
        ),
    ] = "accept"
    dry_run: Annotated[bool, Meta(description="Name what the rules would reject, and let it pass.")] = False


class HealthSettings(Section, frozen=True, kw_only=True):
    """When the feed counts as ill."""

    stale_ms: Annotated[
        int,
        Meta(description="A contract silent for this long while its market is open is stale.", ge=100, le=86_400_000),
    ] = 30_000
    delay_ms: Annotated[
        int, Meta(description="A feed delay (exchange to receipt) above this is reported.", ge=1, le=3_600_000)
    ] = 2000
    recover_ms: Annotated[
        int, Meta(description="How long things must be better before health says so.", ge=0, le=3_600_000)
    ] = 2000
    stuck_ms: Annotated[
        int,
        Meta(
            description="An actor with something to do that does nothing for this long is stuck.", ge=100, le=3_600_000
        ),
    ] = 10_000
    disk_mb: Annotated[
        int, Meta(description="Less free disk than this under log or files is reported.", ge=0, le=1_073_741_824)
    ] = 1024
    reject_share: Annotated[
        float, Meta(description="A larger share of prints rejected within a minute is reported.", ge=0, le=1)
    ] = 0.01
    token_s: Annotated[int, Meta(description="A token with less time left than this is reported.", ge=0, le=86_400)] = (
        300
    )


class SupervisionSettings(Section, frozen=True, kw_only=True):
    """How crashed actors come back, and when a circuit breaker opens."""

    max_restarts: Annotated[
        int,
        Meta(description="Restarts a supervisor bears within `period_s`; one more and it gives up.", ge=0, le=10_000),
    ] = 10
    period_s: Annotated[float, Meta(description="The period in which restarts are counted.", ge=0.1, le=86_400)] = 60.0
    backoff_base_s: Annotated[
        float, Meta(description="First wait before a restart; it doubles with each crash.", ge=0, le=60)
    ] = 0.05
    backoff_cap_s: Annotated[float, Meta(description="Longest wait before a restart.", ge=0.01, le=3600)] = 30.0
    backoff_jitter: Annotated[
        float,
        Meta(description="Share of each wait that is left to chance, so that many do not return at once.", ge=0, le=1),
    ] = 0.2
    backoff_quiet_s: Annotated[
        float,
        Meta(
            description="An actor that ran this long without a crash starts from the first wait again.",
            ge=0.1,
            le=86_400,
        ),
    ] = 60.0
    max_failures: Annotated[
        int, Meta(description="Failures within `window_s` that open an actor's breaker.", ge=1, le=10_000)
    ] = 5
    window_s: Annotated[float, Meta(description="The window in which failures are counted.", ge=0.1, le=86_400)] = 60.0
    reset_timeout_s: Annotated[
        float,
        Meta(
            description="How long an open breaker waits before it probes; it doubles with each failed probe.",
            ge=0.01,
            le=3600,
        ),
    ] = 5.0
    max_reset_timeout_s: Annotated[float, Meta(description="Longest wait between probes.", ge=0.01, le=86_400)] = 300.0
    shutdown_s: Annotated[
        float, Meta(description="Time an actor has to stop before it is fenced off.", ge=0.1, le=300)
    ] = 5.0
    crews: Annotated[
        bool,
        Meta(
            description="Actors of the pipeline take turns in one thread live and in two in a replay, for less CPU. "
            "Off: a thread each, so that a slow timeframe slows no other."
        ),
    ] = True
    processor: Annotated[
        int,
        Meta(
            description="The processor that all threads of a live session keep to, for less CPU and shorter ways: what "
            "one of them wrote is in its cache. -1: any. Linux only.",
            ge=-1,
            le=65_535,
        ),
    ] = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("backoff_base_s", "backoff_cap_s"), ("reset_timeout_s", "max_reset_timeout_s")):
            if getattr(self, high) < getattr(self, low):
                raise SettingsError(
                    f"supervision.{high} is {getattr(self, high):g}; it must not be below supervision.{low} "
                    f"({getattr(self, low):g})",
                    f"supervision.{high}",
                )


class MailboxesSettings(Section, frozen=True, kw_only=True):
    """Bounds of mailboxes, in messages (a message is a batch, not a tick) and in bytes, whichever is reached first."""

    recorder: Annotated[int, Meta(description="Frames on their way to the log.", ge=1, le=1_048_576)] = 4096
    validation: Annotated[int, Meta(description="Frames on their way to validation.", ge=1, le=1_048_576)] = 4096
    bars: Annotated[int, Meta(description="Trades on their way to the finest reduction.", ge=1, le=1_048_576)] = 1024
    timeframe: Annotated[
        int,
        Meta(description="Reduced rows on their way to each timeframe; beyond it they conflate.", ge=1, le=1_048_576),
    ] = 256
    sinks: Annotated[int, Meta(description="Bars on their way to files and subscribers.", ge=1, le=1_048_576)] = 4096
    observers: Annotated[
        int, Meta(description="Reports on their way to statistics and health; the oldest go first.", ge=1, le=1_048_576)
    ] = 1024
    megabytes: Annotated[
        int, Meta(description="What may be queued in each mailbox of frames, trades, rows or bars.", ge=1, le=1_048_576)
    ] = 64
    max_batch: Annotated[int, Meta(description="Most messages an actor takes at once.", ge=1, le=1_048_576)] = 4096


class PressureSettings(Section, frozen=True, kw_only=True):
    """What gives way when memory or mailboxes fill up, and how far. Flag `dynamic_limits` turns all of it off."""

    interval_ms: Annotated[int, Meta(description="How often memory and mailboxes are looked at.", ge=50, le=60_000)] = (
        1000
    )
    memory_mb: Annotated[
        int,
        Meta(
            description="A bound of the session's own on the memory of its process, beside those of the control group, "
            "the address space and the machine; 0: none.",
            ge=0,
            le=1_073_741_824,
        ),
    ] = 0
    memory_high: Annotated[
        float,
        Meta(description="Share of the tightest bound at which limits are halved, again and again.", ge=0.05, le=1),
    ] = 0.85
    memory_low: Annotated[
        float, Meta(description="Share at or below which they come back, one step at a time.", ge=0.01, le=1)
    ] = 0.70
    memory_critical: Annotated[
        float, Meta(description="Share at which everything is at its floor at once.", ge=0.05, le=1)
    ] = 0.95
    recover_s: Annotated[float, Meta(description="How long it must be better before a step back.", ge=0, le=3600)] = (
        10.0
    )
    floor: Annotated[
        float, Meta(description="Least share of what is configured that a limit is halved to.", ge=0.001, le=1)
    ] = 0.0625
    ceiling: Annotated[
        float,
        Meta(
            description="Largest multiple of its configured capacity that a mailbox that overflows gets.", ge=1, le=64
        ),
    ] = 4.0
    order: Annotated[
        tuple[str, ...],
        Meta(
            description="What gives way, first to last: `updates` of open bars (fewer), `quotes` (merged, the latest "
            "counts), `depth` (left out; both stay in the raw log), `subscribers` (less waits for slow ones), and the "
            "resolution of `trades`, which fold exactly into bars."
        ),
    ] = ("updates", "quotes", "depth", "subscribers", "trades")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.memory_low < self.memory_high <= self.memory_critical:
            raise SettingsError(
                f"pressure.memory_low, memory_high and memory_critical are {self.memory_low:g}, {self.memory_high:g} "
                f"and {self.memory_critical:g}; they must rise",
                "pressure.memory_high",
            )
        known = ("updates", "quotes", "depth", "subscribers", "trades")
        for flow in self.order:
            if flow not in known or self.order.count(flow) > 1:
                raise SettingsError(
                    f"pressure.order names '{flow}'; it wants each of {', '.join(known)} at most once", "pressure.order"
                )


class HttpSettings(Section, frozen=True, kw_only=True):
    """The dashboard, metrics and health pages, on 127.0.0.1 only."""

    enabled: Annotated[bool, Meta(description="Serve them.")] = False
    port: Annotated[int, Meta(description="Port; 0: any that is free.", ge=0, le=65_535)] = 8787
    port_fallback: Annotated[bool, Meta(description="Take any port that is free when `port` is in use.")] = False


class HistorySettings(Section, frozen=True, kw_only=True):
    """Closed bars kept in memory for `Session.table`."""

    rows: Annotated[int, Meta(description="Most bars kept for each contract and timeframe.", ge=1, le=100_000_000)] = (
        10_000
    )
    megabytes: Annotated[
        int,
        Meta(
            description="Most memory all of them may take together, in equal shares; a contract and timeframe gets "
            "50 kB at least, so of more than 20 a megabyte they take that.",
            ge=1,
            le=1_048_576,
        ),
    ] = 256


class LoggingSettings(Section, frozen=True, kw_only=True):
    """What the command line logs, on standard error. An embedding app configures logging itself."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is shown.")
    ] = "info"
    json: Annotated[bool, Meta(description="One JSON object a line instead of text.")] = False


SECTIONS: Final[tuple[type[Section], ...]] = (
    GatewaySettings,
    SessionSettings,
    RecorderSettings,
    SinksSettings,
    ValidationSettings,
    HealthSettings,
    SupervisionSettings,
    MailboxesSettings,
    PressureSettings,
    HttpSettings,
    HistorySettings,
    LoggingSettings,
    FlagsSettings,
)
