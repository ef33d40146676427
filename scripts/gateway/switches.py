"""The fault switches: what can be asked for, and what is in force. Names and units follow the interop server's.

`Switches` is the standing state; `ChaosRequest` is what a file or `POST /chaos` may hold: any standing switch, and
the actions that happen at once. `read_chaos` reads either format and names the nearest switch when a name is wrong.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Lifetime = Annotated[float, Meta(gt=0, le=1e9)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
TickRate = Annotated[float, Meta(ge=0, le=10_000_000)]
Pace = Annotated[float, Meta(gt=0, le=60_000)]
Millis = Annotated[float, Meta(ge=0, le=60_000)]
Count = Annotated[int, Meta(ge=0)]
Status = Annotated[int, Meta(ge=400, le=599)]
Hub = Literal["market", "user"]

ELEMENT_KINDS: Final = (
    "negative_price",
    "zero_price",
    "off_tick",
    "zero_volume",
    "negative_volume",
    "bad_timestamp",
    "future_timestamp",
    "missing_field",
    "null_element",
    "null_field",
    "huge_number",
    "huge_integer",
    "string_price",
    "unknown_type",
)
"""Broken elements within an array of prints; everything around them is whole."""

MESSAGE_KINDS: Final = ("unknown_target", "null_batch", "object_batch")
"""Broken messages, sent after the one whose tick they follow; still well-formed JSON."""

WIRE_KINDS: Final = ("garbage_json", "deep_json", "oversized_message", "binary_frame", "split_message")
"""What no real server sends: only ever on when named in `bad_kinds`. Most clients do not survive these."""

BadKind = Literal[
    "negative_price",
    "zero_price",
    "off_tick",
    "zero_volume",
    "negative_volume",
    "bad_timestamp",
    "future_timestamp",
    "missing_field",
    "null_element",
    "null_field",
    "huge_number",
    "huge_integer",
    "string_price",
    "unknown_type",
    "unknown_target",
    "null_batch",
    "object_batch",
    "garbage_json",
    "deep_json",
    "oversized_message",
    "binary_frame",
    "split_message",
]


class ChaosError(ValueError):
    """A chaos file or request that cannot be followed; the message says what is wrong in it."""


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    """The switches in force. See README.md in this folder for what each does."""

    close_on_expiration: bool = False
    close_allow_reconnect: bool = False
    kill_after_s: Seconds = 0.0
    mute_mode: Literal["hold", "blackhole"] = "hold"
    mute_new: bool = False
    stall_drop: bool = False
    refuse_status: Status = 503
    login_fail: Count = 0
    login_fail_status: Status = 500
    login_error: Count = 0
    validate_error: Count = 0
    history_fail: Count = 0
    history_fail_status: Status = 500
    history_delay_ms: Millis = 0.0
    history_lag_s: Seconds = 0.0
    history_error: Count = 0
    retry_after_s: Seconds = 2.0
    connect_error: Count = 0
    subscribe_error: Count = 0
    duplicate_pct: Percent = 0.0
    out_of_order_pct: Percent = 0.0
    drop_pct: Percent = 0.0
    bad_pct: Percent = 0.0
    bad_kinds: tuple[BadKind, ...] = ELEMENT_KINDS + MESSAGE_KINDS
    coalesce_ms: Millis = 0.0
    batch_max: Count = 0
    frame_max: Count = 1
    glue_handshake: bool = False
    quote_ms: Pace = 100.0
    depth_ms: Pace = 100.0
    token_ttl_s: Lifetime = 86_400.0

    @property
    def shaping(self) -> bool:
        """Whether ticks are sent otherwise than each once, in order."""
        return bool(self.duplicate_pct or self.out_of_order_pct or self.drop_pct or self.bad_pct)


class ChaosRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Switches to set and things to do, in one go; what is UNSET stays as it is."""

    reset: bool = False
    close_on_expiration: bool | UnsetType = UNSET
    close_allow_reconnect: bool | UnsetType = UNSET
    kill_after_s: Seconds | UnsetType = UNSET
    mute_mode: Literal["hold", "blackhole"] | UnsetType = UNSET
    mute_new: bool | UnsetType = UNSET
    stall_drop: bool | UnsetType = UNSET
    refuse_status: Status | UnsetType = UNSET
    login_fail: Count | UnsetType = UNSET
    login_fail_status: Status | UnsetType = UNSET
    login_error: Count | UnsetType = UNSET
    validate_error: Count | UnsetType = UNSET
    history_fail: Count | UnsetType = UNSET
    history_fail_status: Status | UnsetType = UNSET
    history_delay_ms: Millis | UnsetType = UNSET
    history_lag_s: Seconds | UnsetType = UNSET
    history_error: Count | UnsetType = UNSET
    retry_after_s: Seconds | UnsetType = UNSET
    connect_error: Count | UnsetType = UNSET
    subscribe_error: Count | UnsetType = UNSET
    duplicate_pct: Percent | UnsetType = UNSET
    out_of_order_pct: Percent | UnsetType = UNSET
    drop_pct: Percent | UnsetType = UNSET
    bad_pct: Percent | UnsetType = UNSET
    bad_kinds: tuple[BadKind, ...] | UnsetType = UNSET
    coalesce_ms: Millis | UnsetType = UNSET
    batch_max: Count | UnsetType = UNSET
    frame_max: Count | UnsetType = UNSET
    glue_handshake: bool | UnsetType = UNSET
    quote_ms: Pace | UnsetType = UNSET
    depth_ms: Pace | UnsetType = UNSET
    token_ttl_s: Lifetime | UnsetType = UNSET
    # what follows happens at once
    hub: Hub | None = None
    contract: str | None = None
    abort: bool | Literal["hub", "tcp", "reset"] = False
    mute: Seconds | None = None
    stall: Seconds | None = None
    refuse_upgrade: Seconds | None = None
    burst: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    tick_rate: TickRate | dict[str, TickRate] | None = None
    gateway_logout: bool | str | list[Any] = False
    revoke_tokens: bool = False


STANDING: Final = frozenset(Switches.__struct_fields__)
NAMES: Final = ChaosRequest.__struct_fields__


def parse_chaos(data: object) -> ChaosRequest:
    """Return the request that `data` (decoded JSON or TOML) spells.

    Raises:
        ChaosError: an unknown switch, or a value that makes no sense for it.
    """
    if not isinstance(data, dict):
        raise ChaosError(f"expected an object of switches, got {type(data).__name__}")
    for name in data:
        if name not in NAMES:
            near = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0.4)
            raise ChaosError(f"unknown switch {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    try:
        return msgspec.convert(data, ChaosRequest)
    except msgspec.ValidationError as error:
        raise ChaosError(str(error)) from None


def parse_chaos_json(body: bytes) -> ChaosRequest:
    """Return the request that a JSON body spells.

    Raises:
        ChaosError: it is not JSON, or not a valid request.
    """
    try:
        data = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ChaosError(f"not JSON: {error}") from None
    return parse_chaos(data)


def read_chaos(path: Path) -> ChaosRequest:
    """Read switches from a file: JSON if its name ends so, else TOML.

    Raises:
        ChaosError: the file cannot be read, or is not a valid request; the message begins with its name.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        return parse_chaos(data)
    except OSError as error:
        raise ChaosError(f"chaos file {path}: {error.strerror or error}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ChaosError(f"chaos file {path}: {error}") from None


def apply_standing(switches: Switches, request: ChaosRequest) -> Switches:
    """Return the switches with what the request sets put in."""
    changes = {name: value for name in STANDING if (value := getattr(request, name)) is not UNSET}
    if "bad_kinds" in changes and not changes["bad_kinds"]:
        changes["bad_kinds"] = ELEMENT_KINDS + MESSAGE_KINDS
    return msgspec.structs.replace(switches, **changes)
