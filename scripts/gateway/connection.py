"""One hub connection on its transport: what it is subscribed to, what was sent on it, and how it ends.

Frames are written straight to the transport, many at once; aiohttp's own writer, which costs microseconds a frame, is
left to pongs and close frames. Nothing queues up without bound: above `HIGH` bytes the connection has no room, and
what serves it waits; a client that takes nothing for `slow_ns` is cut off. A mute holds what is written (up to
`HELD`) and hides even the connection's end until it is over.

Belongs to the event loop's thread; the time is passed in.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final, NamedTuple, Protocol

from tickloom.scripts.gateway.delivery import Ledger
from tickloom.scripts.gateway.frames import text_frame
from tickloom.scripts.gateway.protocol import HubSession, State
from tickloom.scripts.gateway.shaping import Cursor
from tickloom.scripts.gateway.switches import Hub
from tickloom.scripts.gateway.tokens import Claims

HIGH: Final = 1 << 20
"""Bytes waiting to be taken by the client beyond which nothing more is sent for now."""
HELD: Final = 1 << 20
"""Bytes a muted connection holds; they stand for the kernel's send buffer."""


class Transport(Protocol):
    """What is needed of an asyncio transport."""

    def write(self, data: bytes) -> None:
        """Send, or buffer, without blocking."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes buffered."""

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""

    def close(self) -> None:
        """Send what is buffered, then FIN."""

    def abort(self) -> None:
        """Close at once."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket and such."""


class Ending(NamedTuple):
    """How a connection ends (`close`: with a close frame; `tcp`: without one; `reset`: by a TCP reset) and why."""

    how: str
    reason: str


class TradeSubscription:
    """How far one contract's trades have been served on a connection."""

    __slots__ = ("cursor", "ledger")

    def __init__(self, cursor: Cursor, ledger: Ledger) -> None:
        self.cursor = cursor
        self.ledger = ledger


class HubConnection:
    """One client on one hub."""

    def __init__(
        self, name: str, hub: Hub, claims: Claims, session: HubSession, transport: Transport, now_ns: int, slow_ns: int
    ) -> None:
        self.name = name
        self.hub: Hub = hub
        self.claims = claims
        self.session = session
        self.opened_ns = now_ns
        self.closed_ns: int | None = None
        self.trades: dict[str, TradeSubscription] = {}
        self.quotes: dict[str, bool] = {}
        """Contracts whose quotes are wanted, and whether the client is up to date (else it gets a whole one next)."""
        self.depth: dict[str, bool] = {}
        self.user_events: set[tuple[str, int]] = set()
        self.ledgers: dict[str, Ledger] = {}
        self.ending: Ending | None = None
        self.ended = asyncio.Event()
        self.audible = asyncio.Event()
        self.audible.set()
        self._transport = transport
        self._pending: list[bytes] = []
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._discard = False
        self._slow_ns = slow_ns
        self._waiting = 0
        self._progress_ns = now_ns

    def add(self, frames: bytes) -> None:
        """Have whole frames sent with the next flush."""
        self._pending.append(frames)

    def flush(self, now_ns: int) -> None:
        """Write what has gathered: frames, then what the session has to say; and end if the session has."""
        said = self.session.take()
        if said:
            self._pending.append(text_frame(said))
        if self._pending:
            self._write(b"".join(self._pending))
            self._pending.clear()
            self.session.spoke(now_ns)
        if self.session.state is State.ENDED:
            self.end("close", self.session.reason)

    def _write(self, data: bytes) -> None:
        if self._discard:
            return
        if not self.audible.is_set():
            self._held.append(data)
            self._held_bytes += len(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def room(self, now_ns: int) -> bool:
        """Return whether more may be sent now; cut the connection off if nothing was taken for too long."""
        if self.ending is not None or self._transport.is_closing():
            return False
        waiting = self._transport.get_write_buffer_size()
        limit = HIGH
        if not self.audible.is_set():
            waiting, limit = self._held_bytes, HELD
        if waiting < limit:
            self._progress_ns, self._waiting = now_ns, waiting
            return True
        if waiting < self._waiting:
            self._progress_ns = now_ns
        self._waiting = waiting
        if now_ns - self._progress_ns >= self._slow_ns:
            self.end("reset", "slow_client")
        return False

    def end(self, how: str, reason: str) -> None:
        """Let the connection end; the first reason counts. The handler carries it out once it may be heard."""
        if self.ending is None:
            self.ending = Ending(how, reason)
            self.ended.set()

    def mute(self) -> None:
        """From now on not a byte passes, either way."""
        self.audible.clear()

    def unmute(self, *, drop: bool) -> None:
        """Release what was held; with `drop` throw it away and reset the link."""
        if self.audible.is_set():
            return
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        self._discard = drop
        if drop:
            self.ending = Ending("reset", self.ending.reason if self.ending else "blackhole")
            self.ended.set()
        elif self.ending is not None:
            # The server gave up while it could not be heard: what a send buffer holds still comes, then the end.
            self.ending = Ending("tcp", self.ending.reason)
        self.audible.set()
        if held and not drop:
            self._write(held)

    def cut(self, how: str) -> None:
        """End the TCP connection without a close frame: `tcp` in order, `reset` with a reset."""
        if how == "reset":
            sock = self._transport.get_extra_info("socket")
            if sock is not None and not self._transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()
