"""The server's side of the JSON hub protocol for one connection, without I/O: text in, events out, bytes to send.

What must live here: handshake, the meaning of every message type, keepalive and time-outs, and what the client is told
when it ends. What must not: sockets, clocks (the time is passed in), subscriptions. The answers, down to their words,
are those of ASP.NET Core 9.0, observed on the wire; `HubProtocol.md` in dotnet/aspnetcore specifies the rest.

    handshaking ──{"protocol":"json"}──▶ open ──▶ ended
         └────────── error, 15 s ──────────────────▲

Nothing is sent after `ended`; a message may follow another in the same frame, so `take` returns all that has gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from tickloom.scripts.gateway.frames import RS

MAX_MESSAGE: Final = 32 * 1024
"""Bytes a message from the client may have, as ASP.NET Core's default."""

_PING: Final = b'{"type":6}' + RS
_encode = msgspec.json.Encoder().encode
_ERROR: Final = "Connection closed with an error."
_INT32: Final = 1 << 31


class State(Enum):
    """Where the conversation stands."""

    HANDSHAKING = "handshaking"
    OPEN = "open"
    ENDED = "ended"


class Timing(msgspec.Struct, frozen=True):
    """Keepalive and time-outs, in ns."""

    keepalive_ns: int = 15_000_000_000
    client_timeout_ns: int = 30_000_000_000
    handshake_timeout_ns: int = 15_000_000_000


class Opened(msgspec.Struct, frozen=True):
    """The handshake is done."""


class Invoked(msgspec.Struct, frozen=True):
    """The client calls `method` (its canonical name); with `id` None no reply is wanted."""

    id: str | None
    method: str
    arguments: tuple[Any, ...]


class MethodTable:
    """The methods of a hub: name and the type of each argument (`str` may be null, `int` is 32 bits).

    Names are matched without regard to case, as ASP.NET Core does.
    """

    def __init__(self, methods: Mapping[str, tuple[type, ...]]) -> None:
        self._methods = {name.lower(): (name, kinds) for name, kinds in methods.items()}

    def find(self, name: str) -> tuple[str, tuple[type, ...]] | None:
        """Return the canonical name and the argument types, or None."""
        return self._methods.get(name.lower())


def _fits(value: object, kind: type) -> bool:
    if kind is int:
        return type(value) is int and -_INT32 <= value < _INT32
    return value is None or isinstance(value, str)


class HubSession:
    """One connection's conversation."""

    def __init__(self, methods: MethodTable, timing: Timing, now_ns: int, *, glue_handshake: bool = False) -> None:
        self._methods = methods
        self._timing = timing
        self._glue = glue_handshake
        self._began = self._heard = self._spoke = now_ns
        self._armed = False
        self._buffer = b""
        self._out: list[bytes] = []
        self.state = State.HANDSHAKING
        self.reason = ""
        """Why it ended, in one word."""

    def take(self) -> bytes:
        """Return (once) what is to be sent, messages glued together."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def spoke(self, now_ns: int) -> None:
        """Note that something was sent, which postpones the next ping."""
        self._spoke = now_ns

    def receive(self, data: bytes, now_ns: int) -> Iterator[Opened | Invoked]:
        """Take in the payload of a frame, which may hold any part of any number of messages.

        Each event is to be dealt with before the next is asked for, so that answers keep the order of the questions.
        """
        self._heard = now_ns
        *messages, self._buffer = (self._buffer + data).split(RS)
        for message in messages:
            if self.state is State.ENDED:
                return
            event: Opened | Invoked | None = None
            if len(message) > MAX_MESSAGE:
                self._violation("oversized")
            elif self.state is State.HANDSHAKING:
                event = self._handshake(message)
            else:
                event = self._message(message)
            if event is not None:
                yield event
        if len(self._buffer) > MAX_MESSAGE and self.state is not State.ENDED:
            self._violation("oversized")

    def _handshake(self, message: bytes) -> Opened | None:
        try:
            said = msgspec.json.decode(message)
            protocol, version = said["protocol"], said["version"]
            valid = isinstance(protocol, str) and type(version) is int
        except (msgspec.DecodeError, KeyError, TypeError):
            valid = False
        if not valid:
            self._refuse("An unexpected error occurred during connection handshake.")
        elif protocol != "json":
            self._refuse(f"The protocol '{protocol}' is not supported.")
        elif not 0 <= version <= 2:
            self._refuse(f"The server does not support version {version} of the 'json' protocol.")
        if self.state is State.ENDED:
            return None
        self.state = State.OPEN
        self._out.append(b"{}" + RS)
        if self._glue:
            self._out.append(_PING)
        return Opened()

    def _refuse(self, error: str) -> None:
        self._out.append(_encode({"error": error}) + RS)
        self._end("handshake")

    def _message(self, message: bytes) -> Invoked | None:
        try:
            said = msgspec.json.decode(message)
        except (msgspec.DecodeError, RecursionError):
            self._violation("not_json")
            return None
        kind = said.get("type") if isinstance(said, dict) else None
        if type(kind) is not int:
            self._violation("no_type")
        elif kind == 6:
            self._armed = True
        elif kind == 7:
            self.close()
            self.reason = "client_close"
        elif kind in (1, 4):
            return self._invocation(said, stream=kind == 4)
        # Completions, cancellations and types of the future are ignored.
        return None

    def _invocation(self, said: dict[str, Any], *, stream: bool) -> Invoked | None:
        mark, target, arguments = said.get("invocationId"), said.get("target"), said.get("arguments")
        if not (isinstance(target, str) and isinstance(arguments, list) and (mark is None or isinstance(mark, str))):
            self._violation("bad_invocation")
            return None
        failed = f"Failed to invoke '{target}' due to an error on the server."
        known = self._methods.find(target)
        if known is None:
            self._fail(mark, f"{failed} HubException: Method does not exist.")
            return None
        name, kinds = known
        if len(arguments) != len(kinds) or not all(map(_fits, arguments, kinds)):
            self._fail(mark, failed)
        elif stream:
            self._fail(
                mark,
                f"The client attempted to invoke the non-streaming '{target}' method with a streaming invocation.",
            )
        else:
            return Invoked(mark, name, tuple(arguments))
        return None

    def _fail(self, mark: str | None, error: str) -> None:
        if mark is not None:
            self._out.append(_encode({"type": 3, "invocationId": mark, "error": error}) + RS)

    def complete(self, call: Invoked, error: str | None = None) -> None:
        """Answer a call: with null, or with a `HubException` of that text. A call without an id gets no answer."""
        if self.state is not State.OPEN or call.id is None:
            return
        if error is not None:
            text = f"An unexpected error occurred invoking '{call.method}' on the server. HubException: {error}"
            self._fail(call.id, text)
        else:
            self._out.append(_encode({"type": 3, "invocationId": call.id, "result": None}) + RS)

    def send(self, message: bytes) -> None:
        """Send a whole message (with its end mark) beside what has gathered."""
        if self.state is State.OPEN:
            self._out.append(message)

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """End the conversation with a close message."""
        if self.state is State.OPEN:
            message: dict[str, Any] = {"type": 7}
            if error is not None:
                message["error"] = error
            if allow_reconnect:
                message["allowReconnect"] = True
            self._out.append(_encode(message) + RS)
        self._end("closed")

    def _violation(self, reason: str) -> None:
        if self.state is State.HANDSHAKING:
            self._refuse("An unexpected error occurred during connection handshake.")
            return
        self.close(_ERROR, allow_reconnect=True)
        self.reason = reason

    def reject(self, exception: str) -> None:
        """End it because the hub failed on connecting: no invitation to come back."""
        self.close(f"{_ERROR} HubException: {exception}")
        self.reason = "connect_error"

    def _end(self, reason: str) -> None:
        if self.state is not State.ENDED:
            self.state, self.reason = State.ENDED, reason

    def poll(self, now_ns: int) -> None:
        """Do what the passing of time asks for: a ping, or the end of a client that has been silent too long.

        Silence counts only once the client has pinged: a client that never pings is never timed out.
        """
        if self.state is State.HANDSHAKING:
            if now_ns - self._began >= self._timing.handshake_timeout_ns:
                self._refuse("Handshake was canceled.")
                self.reason = "handshake_timeout"
        elif self.state is State.OPEN:
            if self._armed and now_ns - self._heard >= self._timing.client_timeout_ns:
                self._violation("client_timeout")
            elif now_ns - self._spoke >= self._timing.keepalive_ns:
                self._spoke = now_ns
                self._out.append(_PING)
