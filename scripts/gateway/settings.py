"""What a gateway is started with."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tickloom.scripts.gateway.contracts import DEFAULT_CONTRACTS
from tickloom.scripts.gateway.switches import ChaosRequest, Switches
from tickloom.scripts.gateway.tokens import DEMO_KEY, DEMO_USER, Account

Seconds = Annotated[float, Meta(gt=0, le=1e9)]


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one gateway. Durations are seconds unless the name says otherwise.

    - `host`, `port`: where to listen; port 0 takes a free one.
    - `contracts`: contract ids from the catalogue; `rate`: ticks a second of all of them together; `lively`: bursts
      and quiet spells about that average (damped where the stream is dense), else an even flow.
    - `seed` changes the market, `chaos_seed` which ticks the fault percentages pick.
    - `history_s`, `history_rate`: how much there is before the start, for bars, and ticks a second in it.
    - `truth_window`: how many runs of ticks (one per contract and millisecond at most) can be asked for afterwards.
    - `account`: who may log in; `token_ttl_s`: how long a token lives; `allow_query`: `?access_token=` is taken too.
    - `keepalive_s`, `client_timeout_s`, `handshake_timeout_s`: SignalR's own; `slow_client_s`: a client that reads
      nothing for so long is cut off.
    - `rate_limits`: 429 past 50 `retrieveBars` in 30 s or 200 other calls in 60 s.
    - `live_data`: whether requests with `live: true` find anything; practice accounts have no live data.
    - `unknown_contract`: a subscription to a contract that is not served is accepted and stays silent, or is an error.
    - `batch_max`: prints an array at most (0: each trade its own array); `frame_max`: messages a WebSocket frame at
      most (0: no limit); `coalesce_ms`: trades gather for so long before they are sent (0: not at all).
    - `user_event_s`: pace of the user stream; `chaos`: switches on from the start.
    - `with_parent`: stop when the process that started this one ends, or closes its end of a stdin pipe.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    contracts: tuple[str, ...] = DEFAULT_CONTRACTS
    rate: Annotated[float, Meta(ge=0, le=10_000_000)] = 200.0
    lively: bool = True
    seed: int = 0
    chaos_seed: int = 1
    history_s: Annotated[int, Meta(ge=0, le=2_000_000)] = 21_600
    history_rate: Annotated[float, Meta(gt=0, le=10_000)] = 2.0
    truth_window: Annotated[int, Meta(ge=1000)] = 1_000_000
    account: Account = Account.of(DEMO_USER, DEMO_KEY)
    token_ttl_s: Seconds = 86_400.0
    allow_query: bool = False
    keepalive_s: Seconds = 15.0
    client_timeout_s: Seconds = 30.0
    handshake_timeout_s: Seconds = 15.0
    slow_client_s: Seconds = 10.0
    rate_limits: bool = True
    live_data: bool = False
    unknown_contract: Literal["accept", "error"] = "accept"
    batch_max: Annotated[int, Meta(ge=0)] = 0
    frame_max: Annotated[int, Meta(ge=0)] = 1
    coalesce_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    user_event_s: Seconds = 1.0
    chaos: ChaosRequest = ChaosRequest()
    with_parent: bool = False

    def validated(self) -> GatewaySettings:
        """Return these settings, whose bounds msgspec checks only when it converts.

        Raises:
            SettingsError: a value is out of bounds.
        """
        try:
            return msgspec.convert(msgspec.structs.asdict(self), GatewaySettings)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$.")
            raise SettingsError(f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}") from None

    def switches(self) -> Switches:
        """Return the switches with no fault on."""
        return Switches(
            batch_max=self.batch_max,
            frame_max=self.frame_max,
            coalesce_ms=self.coalesce_ms,
            token_ttl_s=self.token_ttl_s,
        )
