"""Records that decide something: they are in the log beside the frames, so a replay needs nothing else.

Every record carries `recv_ns`, the wall clock (ns UTC) at which the session learned of it. None carries a token, a
key or a login body. All are tagged msgspec structs: `encode_control`/`decode_control` are the JSON payload of the
log.
"""

from __future__ import annotations

from typing import TypeAlias, get_args

import msgspec

from tickloom.messages.market import Instrument


class Control(msgspec.Struct, frozen=True, tag_field="record", tag=str.lower, kw_only=True):
    """Base of all control records."""

    recv_ns: int


class SessionStarted(Control, frozen=True):
    """A session began: its redacted settings, its instruments and its calendars, enough to replay it."""

    version: str
    settings: dict[str, object]
    instruments: tuple[Instrument, ...]
    timeframes: tuple[str, ...]
    calendars: dict[str, object] = {}
    resumed: bool = False


class SessionStopped(Control, frozen=True):
    """A session ended in order; open bars are let go as partial here."""

    reason: str = "stopped"


class Beat(Control, frozen=True):
    """The clock said so: bars whose end plus grace lies before `recv_ns` may close."""


class Connected(Control, frozen=True):
    """A hub connection is up and its subscriptions are confirmed."""

    hub: str
    connection: int


class Disconnected(Control, frozen=True):
    """A hub connection is gone. `cause` is a sentence without secrets."""

    hub: str
    connection: int
    cause: str


class Subscribed(Control, frozen=True):
    """A contract's streams are subscribed on a connection."""

    hub: str
    connection: int
    contract: str
    instrument: Instrument


class Unsubscribed(Control, frozen=True):
    """A contract is no longer followed."""

    contract: str


class TimeframesChanged(Control, frozen=True):
    """A timeframe was added or removed: these are built from now on. What is added begins with what the log comes to,
    so that its bars are those it would have had from the log's beginning on."""

    timeframes: tuple[str, ...]


class ClockMeasured(Control, frozen=True):
    """How far the gateway's clock is ahead of ours (ns, negative: behind), as far as its answers told, and how far that
    may be off."""

    offset_ns: int
    uncertainty_ns: int


class TokenChanged(Control, frozen=True):
    """A token was obtained or renewed; only when it expires is recorded."""

    expires_ns: int
    how: str


class Gap(Control, frozen=True):
    """What could not be received: event time `[from_ns, to_ns)` of `contract`, and why."""

    contract: str
    from_ns: int
    to_ns: int
    cause: str


class Healed(Control, frozen=True):
    """What history gave for a missing stretch: settled bars of `contract` that make up all of `[from_ns, to_ns)`.

    The columns have one entry a bar, in order of open time (`open_ns`); each bar is `width_ns` wide and lies within the
    stretch; where there is none, nothing was traded. Prices are in ticks. `source` says where they come from.
    """

    contract: str
    from_ns: int
    to_ns: int
    width_ns: int
    open_ns: tuple[int, ...]
    open: tuple[int, ...]
    high: tuple[int, ...]
    low: tuple[int, ...]
    close: tuple[int, ...]
    volume: tuple[int, ...]
    source: str


class Unhealed(Control, frozen=True):
    """History will not give `[from_ns, to_ns)` of `contract`, for the `reason` in words; its bars stay flagged."""

    contract: str
    from_ns: int
    to_ns: int
    reason: str


class Rejects(Control, frozen=True):
    """Rows that validation refused, by reason: tick numbers and the words that condemned them."""

    reason: str
    contract: str
    ticks: tuple[int, ...]
    detail: str = ""


class Quarantined(Control, frozen=True):
    """Rows on which an actor's fold failed; they are in no bar, and counted."""

    actor: str
    reason: str
    contract: str
    ticks: tuple[int, ...]


class Midway(Control, frozen=True):
    """What came before `recv_ns` of `contract` is not there to be folded: bars that began earlier are partial.

    In no log: whoever folds a log from its middle on says so. Of no contract: of every one that is known.
    """

    contract: str = ""


class Unfamiliar(Control, frozen=True):
    """A record that a later version wrote and this one does not know: `text` is its JSON. It is passed over; what must
    not be passed over is a new version of the log's format."""

    text: str


AnyControl: TypeAlias = (
    SessionStarted
    | SessionStopped
    | Beat
    | Connected
    | Disconnected
    | Subscribed
    | Unsubscribed
    | TokenChanged
    | ClockMeasured
    | TimeframesChanged
    | Gap
    | Healed
    | Unhealed
    | Rejects
    | Quarantined
    | Midway
    | Unfamiliar
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyControl] = msgspec.json.Decoder(AnyControl)


def encode_control(record: AnyControl) -> bytes:
    """Return the record as JSON, tagged with its name."""
    return record.text.encode() if isinstance(record, Unfamiliar) else _encoder.encode(record)


def decode_control(payload: bytes) -> AnyControl:
    """Read a record back; one of a name that this version does not know is `Unfamiliar`.

    Raises:
        msgspec.ValidationError: the payload is no record, or not what its name promises.
    """
    try:
        return _decoder.decode(payload)
    except msgspec.ValidationError:
        named = _named.decode(payload)
        if named.record in _known:
            raise
        return Unfamiliar(recv_ns=named.recv_ns, text=payload.decode())


class _Named(msgspec.Struct, frozen=True):
    record: str
    recv_ns: int


_named = msgspec.json.Decoder(_Named)
_known = {kind.__struct_config__.tag for kind in get_args(AnyControl)}
