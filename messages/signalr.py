"""The SignalR hub protocol, JSON encoding, client side, without I/O: bytes in, events out.

What must live here: framing, the handshake, the nine message types, matching completions with invocations, keepalive
and timeouts as decisions, and the bookkeeping of stateful reconnect. What must not: sockets, clocks, tasks, HTTP, the
token, and what the messages mean to a market. The shell that owns the socket feeds `receive` with what it read, writes
what the engine hands it, and asks `on_time` when `next_deadline` has come. Times are seconds of any monotonic clock.

Theory of operation. A session is in one `State` and moves by `TRANSITIONS`; a step that is not in the table raises and
leaves the engine as it was. After the handshake the stream is cut at the record separator and handed on as `Payload`s
of *whole* messages, undecoded: market data is not parsed twice, and what is logged is what came (a payload equals a
frame unless the peer split a message over two). What steers the session is parsed beside it: completions, pings,
closes, acknowledgements.

Bad input never raises and never ends a session: it is counted by reason (`counts`) and left in the payload, where the
decoder says what was wrong with it. Only a reply that is no handshake, and a stateful resumption that does not add up,
are beyond repair; they end it by event.

Sources: dotnet/aspnetcore `src/SignalR/docs/specs/HubProtocol.md` and, where code and text differ (the meaning of
`Sequence`), `src/SignalR/common/Shared/MessageBuffer.cs`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, IntEnum, auto
from typing import Any, TypeAlias

import msgspec

SEPARATOR = b"\x1e"
PING = b'{"type":6}\x1e'

_EVENT = b'{"type":1,"target":'  # how ASP.NET Core begins an invocation that wants no answer
_GLUED_EVENT = SEPARATOR + _EVENT


class Kind(IntEnum):
    """The message types of the wire."""

    INVOCATION = 1
    STREAM_ITEM = 2
    COMPLETION = 3
    STREAM_INVOCATION = 4
    CANCEL = 5
    PING = 6
    CLOSE = 7
    ACK = 8
    SEQUENCE = 9


_TRACKED = frozenset({Kind.INVOCATION, Kind.STREAM_ITEM, Kind.COMPLETION, Kind.STREAM_INVOCATION, Kind.CANCEL})
"""The types that count in stateful reconnect; the rest have no sequence id."""


class State(Enum):
    """Where a session stands."""

    NEW = auto()
    HANDSHAKE = auto()
    OPEN = auto()
    CUT = auto()
    RESUMING = auto()
    CLOSED = auto()


class Step(Enum):
    """What moves a session from one state to another."""

    START = auto()
    ACCEPT = auto()
    REFUSE = auto()
    PEER_CLOSE = auto()
    TIME_OUT = auto()
    LOSE = auto()
    RESUME = auto()
    ALIGN = auto()
    FAIL = auto()
    CLOSE = auto()


TRANSITIONS: dict[State, dict[Step, State]] = {
    State.NEW: {Step.START: State.HANDSHAKE, Step.CLOSE: State.CLOSED},
    State.HANDSHAKE: {
        Step.ACCEPT: State.OPEN,
        Step.REFUSE: State.CLOSED,
        Step.TIME_OUT: State.CLOSED,
        Step.CLOSE: State.CLOSED,
    },
    State.OPEN: {
        Step.PEER_CLOSE: State.CLOSED,
        Step.TIME_OUT: State.CLOSED,
        Step.LOSE: State.CUT,
        Step.CLOSE: State.CLOSED,
    },
    State.CUT: {Step.RESUME: State.RESUMING, Step.CLOSE: State.CLOSED},
    State.RESUMING: {
        Step.ALIGN: State.OPEN,
        Step.FAIL: State.CLOSED,
        Step.PEER_CLOSE: State.CLOSED,
        Step.TIME_OUT: State.CLOSED,
        Step.LOSE: State.CUT,
        Step.CLOSE: State.CLOSED,
    },
    State.CLOSED: {Step.CLOSE: State.CLOSED},
}
"""Every step there is. `CUT` and `RESUMING` are reached with stateful reconnect alone."""


class LocalProtocolError(Exception):
    """The caller asked for a step the session cannot take; the session is as it was."""


class Limits(msgspec.Struct, frozen=True):
    """How much one session may hold, and how long it waits. Sizes in bytes, times in seconds.

    `message` bounds a message that has not ended yet; `pending` the invocations without an answer; `unacknowledged` the
    messages kept for a stateful resumption. The times are ASP.NET Core's defaults: it pings every 15 s, gives up a
    silent peer after 30 s and a handshake after 15 s.

    What was received is acknowledged after `acknowledge` seconds, as other clients do, and also after
    `acknowledge_bytes`: a server keeps what is not acknowledged, 100,000 bytes by default, and sends nothing more while
    that is full, so that by the clock alone a busy feed is throttled to that much a second.
    """

    message: int = 16 * 1024 * 1024
    pending: int = 1024
    unacknowledged: int = 1024
    keepalive: float = 15.0
    server_timeout: float = 30.0
    handshake_timeout: float = 15.0
    acknowledge: float = 1.0
    acknowledge_bytes: int = 32 * 1024


class Payload(msgspec.Struct, frozen=True, gc=False):
    """One or more whole messages, each with its separator, as received."""

    data: bytes


class HandshakeAccepted(msgspec.Struct, frozen=True, gc=False):
    """The peer took the handshake; the session is open."""


class HandshakeRefused(msgspec.Struct, frozen=True, gc=False):
    """The peer refused the handshake, or its reply was none. The session is closed."""

    error: str


class Completion(msgspec.Struct, frozen=True, gc=False):
    """An invocation of ours has ended: with `error` None it succeeded. `result` is JSON (None: void)."""

    invocation_id: str
    target: str
    arguments: tuple[Any, ...]
    error: str | None = None
    result: bytes | None = None


class StreamItem(msgspec.Struct, frozen=True, gc=False):
    """An item of a stream invocation of ours, as JSON."""

    invocation_id: str
    item: bytes


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The peer invoked us and waits for an answer; `complete` makes one. (An event that wants none is a `Payload`.)"""

    invocation_id: str
    target: str


class Close(msgspec.Struct, frozen=True, gc=False):
    """The peer closed the session. `allow_reconnect` is its invitation to come back by itself."""

    error: str | None
    allow_reconnect: bool


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """A cut session goes on; `repeated` messages will come again and are dropped."""

    repeated: int


class ResumeFailed(msgspec.Struct, frozen=True, gc=False):
    """The peer's `Sequence` does not fit what was received: messages are missing. The session is closed."""

    error: str


class TimedOut(msgspec.Struct, frozen=True, gc=False):
    """The peer was silent for longer than the limit. The session is closed."""

    waited: float
    during: State


Event: TypeAlias = (
    Payload
    | HandshakeAccepted
    | HandshakeRefused
    | Completion
    | StreamItem
    | Asked
    | Close
    | Resumed
    | ResumeFailed
    | TimedOut
)


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """The fields of any message that steer the session; unknown ones are ignored."""

    type: int
    target: str | None = None
    invocationId: str | None = None  # noqa: N815 - the wire's name
    error: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    item: msgspec.Raw = msgspec.Raw(b"null")
    allowReconnect: bool | None = None  # noqa: N815
    sequenceId: int | None = None  # noqa: N815


class _Reply(msgspec.Struct, frozen=True, gc=False):
    error: str | None = None


class _Pending(msgspec.Struct, frozen=True, gc=False):
    target: str
    arguments: tuple[Any, ...]


_envelope = msgspec.json.Decoder(_Envelope)
_reply = msgspec.json.Decoder(_Reply)
_encode = msgspec.json.Encoder().encode


def frame(message: dict[str, Any]) -> bytes:
    """Return a message as JSON with its separator."""
    return _encode(message) + SEPARATOR


class SignalRProtocol:
    """One session. See the module's docstring; methods that return bytes return what must be written to the socket.

    `counts` holds totals by name: `received` and `sent` messages, `pings`, and, under `bad.<reason>`, what was wrong
    with the input: `json`, `schema`, `depth`, `oversized`, `unknown_type`, `unmatched`, `after_close`, `repeated`. The
    names are a fixed set, so it is bounded.

    Args:
        limits: sizes and times.
        stateful: the peer agreed to stateful reconnect in the negotiation; the handshake then asks for version 2.
    """

    def __init__(self, limits: Limits | None = None, *, stateful: bool = False) -> None:
        self.limits = limits or Limits()
        self.stateful = stateful
        self._counts: dict[str, int] = {"sent": 0, "pings": 0}
        self._state = State.NEW
        self._rest = bytearray()
        self._skipping = False
        self._pending: dict[str, _Pending] = {}
        self._next_id = 1
        self._started = 0.0
        self._last_received = 0.0
        self._last_sent = 0.0
        self._plain = False  # open, nothing held back, nothing that comes again: the ordinary case
        self._untracked = 0  # messages received that have no id, or had one before
        # stateful reconnect: ids count tracked messages from 1
        self._seen = 0  # the highest id processed
        self._repeats = 0  # how many tracked messages will come again before a new one
        self._acknowledged = 0
        self._acknowledged_at = 0.0
        self._volume = 0  # bytes received since the last acknowledgement
        self._sent_id = 0
        self._kept: deque[tuple[int, bytes]] = deque()

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    @property
    def counts(self) -> dict[str, int]:
        """Totals by name (see the class)."""
        return {"received": self._seen + self._untracked, **self._counts}

    @property
    def pending(self) -> tuple[str, ...]:
        """The ids of invocations that have no answer yet."""
        return tuple(self._pending)

    def _step(self, step: Step) -> None:
        target = TRANSITIONS[self._state].get(step)
        if target is None:
            raise LocalProtocolError(f"a session that is {self._state.name} cannot {step.name}")
        self._state = target
        self._plain = False

    def _count(self, name: str, number: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + number

    # ------------------------------------------------------------------------------------------ what we send

    def start(self, now: float) -> bytes:
        """Begin: return the handshake request."""
        self._step(Step.START)
        self._started = self._last_received = self._last_sent = now
        return frame({"protocol": "json", "version": 2 if self.stateful else 1})

    def invoke(self, target: str, arguments: Sequence[Any], now: float) -> tuple[str, bytes]:
        """Invoke a hub method; its `Completion` will carry the id returned.

        Raises:
            LocalProtocolError: the session is not open, or too many invocations wait for an answer.
        """
        return self._invoke(Kind.INVOCATION, target, arguments, now)

    def stream(self, target: str, arguments: Sequence[Any], now: float) -> tuple[str, bytes]:
        """Invoke a streaming hub method; `StreamItem`s and a `Completion` will carry the id returned."""
        return self._invoke(Kind.STREAM_INVOCATION, target, arguments, now)

    def _invoke(self, kind: Kind, target: str, arguments: Sequence[Any], now: float) -> tuple[str, bytes]:
        self._must_be_open(f"invoke {target}")
        if len(self._pending) >= self.limits.pending:
            raise LocalProtocolError(f"{len(self._pending)} invocations have no answer yet; {target} is not sent")
        invocation_id = str(self._next_id)
        message = {
            "type": kind.value,
            "invocationId": invocation_id,
            "target": target,
            "arguments": list(arguments),
        }
        data = self._track(frame(message), now)
        self._next_id += 1
        self._pending[invocation_id] = _Pending(target, tuple(arguments))
        return invocation_id, data

    def send(self, target: str, arguments: Sequence[Any], now: float) -> bytes:
        """Invoke a hub method without wanting an answer."""
        self._must_be_open(f"send {target}")
        return self._track(frame({"type": 1, "target": target, "arguments": list(arguments)}), now)

    def cancel(self, invocation_id: str, now: float) -> bytes:
        """Cancel an invocation of ours; its completion still comes."""
        self._must_be_open("cancel")
        return self._track(frame({"type": 5, "invocationId": invocation_id}), now)

    def complete(self, invocation_id: str, now: float, *, error: str) -> bytes:
        """Answer the peer's `Asked`: we have no such method, or it failed."""
        self._must_be_open("complete")
        return self._track(frame({"type": 3, "invocationId": invocation_id, "error": error}), now)

    def close(self, error: str | None = None) -> bytes:
        """End the session: return the close message, or nothing when there is nobody to send it to."""
        was = self._state
        self._step(Step.CLOSE)
        if was is not State.OPEN:
            return b""
        return frame({"type": 7} if error is None else {"type": 7, "error": error})

    def _must_be_open(self, action: str) -> None:
        if self._state is not State.OPEN:
            raise LocalProtocolError(f"a session that is {self._state.name} cannot {action}")

    def _track(self, data: bytes, now: float) -> bytes:
        if self.stateful:
            if len(self._kept) >= self.limits.unacknowledged:
                raise LocalProtocolError(f"the peer has not acknowledged {len(self._kept)} messages; nothing is sent")
            self._sent_id += 1
            self._kept.append((self._sent_id, data))
        self._sent(now)
        return data

    def _sent(self, now: float) -> None:
        self._last_sent = now
        self._count("sent")

    # ------------------------------------------------------------------------------------------ time

    def next_deadline(self) -> float:
        """Return when `on_time` next has something to decide; infinity if never."""
        if self._state is State.HANDSHAKE:
            return self._started + self.limits.handshake_timeout
        if self._state not in (State.OPEN, State.RESUMING):
            return float("inf")
        deadline = self._last_received + self.limits.server_timeout
        if self._state is State.OPEN:
            deadline = min(deadline, self._last_sent + self.limits.keepalive)
            if self.stateful and self._acknowledged < self._seen:
                deadline = min(deadline, self._acknowledged_at + self.limits.acknowledge)
        return deadline

    def on_time(self, now: float) -> tuple[bytes, list[Event]]:
        """Return what to send at `now` (a ping, an acknowledgement, or nothing) and what `now` brings about."""
        if self._state is State.HANDSHAKE:
            if now - self._started < self.limits.handshake_timeout:
                return b"", []
            return b"", [self._time_out(now - self._started)]
        if self._state not in (State.OPEN, State.RESUMING):
            return b"", []
        if now - self._last_received >= self.limits.server_timeout:
            return b"", [self._time_out(now - self._last_received)]
        data = b""
        if self._state is State.OPEN:
            data += self.acknowledge(now)
            if now - self._last_sent >= self.limits.keepalive:
                data += PING
                self._sent(now)
        return data, []

    def acknowledge(self, now: float) -> bytes:
        """Return an acknowledgement of what was received if one is due: it has been a while, or it has become much."""
        if not self.stateful or self._acknowledged == self._seen or self._state is not State.OPEN:
            return b""
        if self._volume < self.limits.acknowledge_bytes and now - self._acknowledged_at < self.limits.acknowledge:
            return b""
        self._acknowledged, self._acknowledged_at, self._volume = self._seen, now, 0
        self._sent(now)
        return frame({"type": 8, "sequenceId": self._seen})

    def excuse(self, now: float) -> None:
        """Forgive the peer's silence so far: it was us who did not listen."""
        self._last_received = max(self._last_received, now)

    def _time_out(self, waited: float) -> TimedOut:
        during = self._state
        self._step(Step.TIME_OUT)
        return TimedOut(waited, during)

    # ------------------------------------------------------------------------------------------ stateful reconnect

    def lose(self) -> None:
        """The transport is gone, and the session may be resumed on another one (stateful reconnect alone).

        Raises:
            LocalProtocolError: the session is not stateful, or not one that can be resumed.
        """
        if not self.stateful:
            raise LocalProtocolError("a session without stateful reconnect cannot be resumed")
        self._step(Step.LOSE)
        self._rest.clear()
        self._skipping = False

    def resume(self, now: float) -> bytes:
        """A new transport carries the session: return our `Sequence` and what the peer has not acknowledged."""
        self._step(Step.RESUME)
        self._last_received = now
        first = self._kept[0][0] if self._kept else self._sent_id + 1
        self._sent(now)
        return frame({"type": 9, "sequenceId": first}) + b"".join(data for _, data in self._kept)

    # ------------------------------------------------------------------------------------------ what we receive

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the socket and return what they bring about, in order. Never raises for bad input."""
        self._last_received = now
        if self.stateful:
            self._volume += len(data)
        if self._plain and data.startswith(_EVENT) and data.find(SEPARATOR) == len(data) - 1:
            self._seen += 1
            return [Payload(data)]
        if self._rest or self._skipping or data[-1:] != SEPARATOR:
            data = self._whole(data)
        events = self._messages(data, now) if data else []
        self._plain = self._state is State.OPEN and not self._rest and not self._skipping and self._repeats == 0
        return events

    def _messages(self, data: bytes, now: float) -> list[Event]:
        """Take whole messages."""
        if self._state is State.OPEN:
            if data.startswith(_EVENT) and self._repeats == 0:
                count = data.count(SEPARATOR)
                if data.count(_GLUED_EVENT) == count - 1:
                    self._seen += count
                    return [Payload(data)]
            return self._open(data)
        if self._state is State.HANDSHAKE:
            return self._handshake(data, now)
        if self._state is State.RESUMING:
            return self._resuming(data, now)
        self._count("bad.after_close", data.count(SEPARATOR))
        return []

    def _whole(self, data: bytes) -> bytes:
        """Return the whole messages `data` completes; hold the rest back."""
        if self._skipping:
            end = data.find(SEPARATOR)
            if end < 0:
                return b""
            self._skipping = False
            data = data[end + 1 :]
        end = data.rfind(SEPARATOR) + 1
        if end:
            whole = bytes(self._rest) + data[:end] if self._rest else data[:end]
            self._rest.clear()
        else:
            whole = b""
        self._rest += data[end:]
        if len(self._rest) > self.limits.message:
            self._count("bad.oversized")
            self._rest.clear()
            self._skipping = True
        return whole

    def _handshake(self, data: bytes, now: float) -> list[Event]:
        """The first message is the reply; whatever shares its frame is already of the session."""
        reply, _, rest = data.partition(SEPARATOR)
        try:
            error = _reply.decode(reply).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = f"the reply to the handshake is none: {reply[:80]!r}"
        if error is not None:
            self._step(Step.REFUSE)
            return [HandshakeRefused(error)]
        self._step(Step.ACCEPT)
        events: list[Event] = [HandshakeAccepted()]
        if rest:
            events += self._messages(rest, now)
        return events

    def _resuming(self, data: bytes, now: float) -> list[Event]:
        """Everything before the peer's `Sequence` is ignored, but for a close."""
        while data:
            message, _, data = data.partition(SEPARATOR)
            envelope = self._parse(message)
            if envelope is None:
                continue
            self._untracked += 1
            if envelope.type == Kind.CLOSE:
                return [self._closed(envelope)]
            if envelope.type == Kind.SEQUENCE and envelope.sequenceId is not None:
                if not 1 <= envelope.sequenceId <= self._seen + 1:
                    self._step(Step.FAIL)
                    error = f"the peer goes on at message {envelope.sequenceId}, {self._seen} were received"
                    return [ResumeFailed(error)]
                self._repeats = self._seen + 1 - envelope.sequenceId
                self._step(Step.ALIGN)
                events: list[Event] = [Resumed(self._repeats)]
                return events + self._messages(data, now) if data else events
        return []

    def _open(self, data: bytes) -> list[Event]:
        """Go through messages one by one. Runs that are handed on stay together in one payload."""
        events: list[Event] = []
        begin = at = 0
        while at < len(data) and self._state is State.OPEN:
            end = data.find(SEPARATOR, at) + 1
            message = data[at : end - 1]
            envelope = None
            if not message.startswith(_EVENT):
                envelope = self._parse(message)
            tracked = envelope.type in _TRACKED if envelope is not None else message.startswith(_EVENT)
            if not tracked:
                self._untracked += 1
            elif self._repeats:  # came again after a resumption
                self._repeats -= 1
                self._untracked += 1
                self._count("bad.repeated")
                if at > begin:
                    events.append(Payload(data[begin:at]))
                begin = at = end
                continue
            else:
                self._seen += 1
            if envelope is not None:
                event = self._steer(envelope)
                if event is not None:
                    events.append(Payload(data[begin:end]))
                    events.append(event)
                    begin = end
            at = end
        if at > begin:
            events.append(Payload(data[begin:at]))
        if at < len(data):
            self._count("bad.after_close", data.count(SEPARATOR, at))
        return events

    def _parse(self, message: bytes) -> _Envelope | None:
        try:
            return _envelope.decode(message)
        except msgspec.ValidationError:
            self._count("bad.schema")
        except RecursionError:
            self._count("bad.depth")
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._count("bad.json")
        return None

    def _steer(self, envelope: _Envelope) -> Event | None:
        """Return what a message brings about; None for one that is only handed on."""
        match envelope.type:
            case Kind.INVOCATION | Kind.STREAM_INVOCATION:
                if envelope.invocationId is not None:
                    return Asked(envelope.invocationId, envelope.target or "")
            case Kind.STREAM_ITEM:
                if envelope.invocationId in self._pending:
                    return StreamItem(envelope.invocationId or "", bytes(envelope.item))
                self._count("bad.unmatched")
            case Kind.COMPLETION:
                return self._completion(envelope)
            case Kind.CANCEL:
                pass  # a cancellation of something we were asked; everything asked is answered at once
            case Kind.PING:
                self._count("pings")
            case Kind.CLOSE:
                return self._closed(envelope)
            case Kind.ACK:
                while self._kept and self._kept[0][0] <= (envelope.sequenceId or 0):
                    self._kept.popleft()
            case Kind.SEQUENCE:
                self._count("bad.unmatched")  # a sequence that answers no resumption
            case _:
                self._count("bad.unknown_type")
        return None

    def _completion(self, envelope: _Envelope) -> Completion | None:
        pending = self._pending.pop(envelope.invocationId or "", None)
        if pending is None or envelope.invocationId is None:
            self._count("bad.unmatched")
            return None
        result = bytes(envelope.result)
        return Completion(
            envelope.invocationId,
            pending.target,
            pending.arguments,
            envelope.error,
            None if result == b"null" or envelope.error is not None else result,
        )

    def _closed(self, envelope: _Envelope) -> Close:
        self._step(Step.PEER_CLOSE)
        return Close(envelope.error, bool(envelope.allowReconnect))
