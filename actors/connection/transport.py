"""One connection to one hub over a WebSocket: the asyncio shell around the sans-IO SignalR engine.

What must live here: the reading pattern, keeping time, matching invocations with their callers. What must not: how a
hub is reached (`dial`), deciding to reconnect (`reconnect`), decoding (`decode`), more than one connection (`session`).
Everything runs in the loop that called `open`; nothing survives `close`, and no error of the transport passes.

The reading pattern. `receive()` returns without yielding to the loop while frames are buffered, so frames that have
already come are gathered and handed over as one batch: the first one schedules a flush with `call_soon`, which runs
when the reader has drained the buffer and waits. A batch is at most `HubSettings.batch` frames. A caller that waits for
an invocation's answer runs after everything that came before that answer was handed over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgspec

from tickloom.actors.connection.dial import Dialer, HubSettings, Socket, hang_up
from tickloom.actors.connection.errors import (
    TRANSPORT_ERRORS,
    ConnectionLost,
    GatewayError,
    GatewayUnreachable,
    InvocationFailed,
    SubscriptionRefused,
    translated,
)
from tickloom.actors.connection.heartbeat import Heartbeat
from tickloom.config.secrets import Secret
from tickloom.messages.projectx import MARKET_STREAMS, USER_STREAMS
from tickloom.messages.signalr import (
    Asked,
    Close,
    Completion,
    Event,
    HandshakeRefused,
    LocalProtocolError,
    Payload,
    Resumed,
    ResumeFailed,
    SignalRProtocol,
    State,
    TimedOut,
)

ABRUPT_S = 0.1
"""How long a peer that is taken for dead may take to answer the end of its socket."""

OnFrames = Callable[[list[bytes], list[int], list[int]], None]
"""Takes a batch: payloads, and for each its wall-clock and monotonic receipt stamps (ns). Must not block."""

_SECONDS = 1e-9
_DATA = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


def masked(account: int) -> str:
    """Return an account's number as it may be shown: its last two digits."""
    return f"account …{str(account)[-2:]}"


class _Waiting(NamedTuple):
    future: asyncio.Future[bytes | None]
    target: str


class HubConnection:
    """A connection to one hub. Use: `open`, then `run` in a task, then `subscribe` and the rest; `close` ends `run`.

    Args:
        settings: where and how.
        token: what authenticates us; None for a gateway that wants nothing.
        session: the HTTP session (see `address.open_session`); not closed here.
        wall_ns, mono_ns: the clocks of the receipt stamps.
    """

    def __init__(
        self,
        settings: HubSettings,
        token: Secret | None,
        session: aiohttp.ClientSession,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.settings = settings
        self.resumed = 0
        self._dialer = Dialer(settings, token, session)
        self.where = self._dialer.where
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._engine = SignalRProtocol(settings.limits)
        self._heartbeat = Heartbeat(0.0, 0.0, 0.0)
        self._heard = 0.0
        self._socket: Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closing = False
        self._over = False
        self._cause: GatewayError | None = None
        self._defect: Exception | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._on_frames: OnFrames | None = None
        self._flushing = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._payloads: list[bytes] = []
        self._walls: list[int] = []
        self._monos: list[int] = []

    @property
    def round_trip(self) -> float | None:
        """The last WebSocket ping's round trip in seconds; None before the first."""
        return self._heartbeat.round_trip

    @property
    def counts(self) -> dict[str, int]:
        """Totals of the engine: messages, pings, and what was wrong with the input, by reason. Bounded."""
        return dict(self._engine.counts)

    @property
    def is_open(self) -> bool:
        """Whether the session is up and not being closed."""
        return self._engine.state is State.OPEN and not self._closing and not self._over

    def reading(self, on: bool) -> None:
        """Stop reading the socket, or go on: for a receiver that has no room. TCP then slows the gateway down.

        While it is stopped the gateway's silence is ours and is not held against it; but a gateway gives up a client
        that does not read (ASP.NET Core after some ten seconds).
        """
        if on:
            self._may_read.set()
        else:
            self._may_read.clear()

    # ------------------------------------------------------------------------------------------ opening

    async def open(self) -> None:
        """Connect and shake hands.

        Raises:
            InsecureAddress: the address is one a token must not be sent to.
            AuthenticationRefused, CertificateRefused, GatewayUnreachable: as their names say.
        """
        if self._socket is not None or self._closing:
            raise LocalProtocolError("a connection is opened once; make a new one")
        socket = self._socket = await self._dialer.dial()
        self._engine = SignalRProtocol(self.settings.limits, stateful=self._dialer.stateful)
        try:
            await translated(self._handshake(socket), self.where)
        except BaseException:
            await hang_up(socket, self.settings.close_timeout)
            raise

    async def _handshake(self, socket: Socket) -> None:
        await socket.send_str(self._engine.start(self._now()).decode())
        while self._engine.state is State.HANDSHAKE:
            left = self._engine.next_deadline() - self._now()
            try:
                message = await socket.receive(timeout=max(left, 0.001))
            except TimeoutError:
                self._engine.on_time(self._now())
                continue
            if message.type in _DATA:
                answers = self._take(message.data)
                if answers:
                    await self._send(socket, answers)
            elif message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                raise GatewayUnreachable(f"{self.where} closed the connection during the handshake")
        if self._engine.state is State.CLOSED:
            raise self._cause or GatewayUnreachable(f"{self.where} did not answer the handshake")

    # ------------------------------------------------------------------------------------------ running

    async def run(self, on_frames: OnFrames) -> None:
        """Receive until the connection ends; returns when `close` was called.

        Raises:
            ConnectionLost: it ended otherwise; the message says how.
        """
        socket = self._socket
        if socket is None or self._on_frames is not None:
            raise LocalProtocolError("run a connection once, after open")
        self._on_frames = on_frames
        try:
            while socket is not None:
                await self._carry(socket)
                if self._closing or not self._engine.stateful or self._engine.state is State.CLOSED:
                    break
                socket = await self._resume()
        finally:
            self._over = True
            self._flush()
            # whoever ended it has had his say: not to hold up the next connection, he is not waited for
            await hang_up(self._socket, self.settings.close_timeout if self._closing else ABRUPT_S)
            lost = self._cause or ConnectionLost(f"the connection to {self.where} was closed")
            self._fail_waiting(lost)
        if not self._closing:
            raise lost

    async def _carry(self, socket: Socket) -> None:
        """Read one socket to its end, keeping time beside it."""
        self._heard = self._now()
        self._heartbeat = Heartbeat(self.settings.ping_interval, self.settings.ping_patience, self._heard)
        self._reader = asyncio.create_task(self._read(socket))
        tasks = (self._reader, asyncio.create_task(self._keep_time(socket)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, GatewayError):
                self._blame(result)
            elif isinstance(result, Exception):
                raise result
        if self._defect is not None:
            raise self._defect  # of `on_frames`: whoever handed it in should know

    async def _read(self, socket: Socket) -> None:
        receive, take = socket.receive, self._take
        text, binary = _DATA
        self._flush()  # what shared the handshake's frame
        may_read = self._may_read
        while True:
            if not may_read.is_set():
                await may_read.wait()
            message = await receive()
            kind = message.type
            if kind is text or kind is binary:
                answers = take(message.data)
                if answers:
                    await self._send(socket, answers)
                if self._engine.state is State.CLOSED:
                    return
            elif kind is aiohttp.WSMsgType.PONG:
                self._heard = self._now()
                self._heartbeat.on_pong(bytes(message.data), self._heard)
            elif kind is aiohttp.WSMsgType.PING:
                self._heard = self._now()
                await self._sent(socket.pong(message.data))
            else:
                self._blame(ConnectionLost(f"the connection to {self.where} was lost: {self._why(socket, message)}"))
                return

    def _why(self, socket: Socket, last: Any) -> str:
        """Say why a socket ended, from its last word."""
        if last.type is aiohttp.WSMsgType.ERROR and isinstance(last.data, aiohttp.WebSocketError):
            if last.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                return f"a frame was larger than {self.settings.max_frame} bytes"
            return f"its framing is broken (code {int(last.data.code)})"
        if socket.close_code is None or socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return "it broke off without a close"
        return f"it was closed with code {int(socket.close_code)}"

    def _take(self, data: bytes) -> bytes:
        """Feed a frame to the engine, gather its payload, act on what it steers; return what must be answered."""
        mono = self._mono_ns()
        now = self._heard = mono * _SECONDS
        answers = b""
        for event in self._engine.receive(data, now):
            if type(event) is Payload:
                self._payloads.append(event.data)
                self._walls.append(self._wall_ns())
                self._monos.append(mono)
                if len(self._payloads) >= self.settings.batch:
                    self._flush()
                elif not self._flushing and self._on_frames is not None:
                    self._flushing = True
                    asyncio.get_running_loop().call_soon(self._flush_soon)
            else:
                answers += self._act(event, now)
        return answers + self._engine.acknowledge(now) if self._engine.stateful else answers

    def _flush_soon(self) -> None:
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - a callback has no caller: the run is ended with it instead
            self._defect = error
            if self._reader is not None:
                self._reader.cancel()

    def _flush(self) -> None:
        self._flushing = False
        if not self._payloads or self._on_frames is None:
            return
        batch = self._payloads, self._walls, self._monos
        self._payloads, self._walls, self._monos = [], [], []
        self._on_frames(*batch)

    def _act(self, event: Event, now: float) -> bytes:
        """Act on what steers the session; return what must be answered."""
        match event:
            case Completion():
                waiting = self._waiting.pop(event.invocation_id, None)
                if waiting is not None and not waiting.future.done():
                    if event.error is None:
                        waiting.future.set_result(event.result)
                    else:
                        waiting.future.set_exception(InvocationFailed(event.error, answered=True))
            case Asked():
                return self._engine.complete(event.invocation_id, now, error=f"no method {event.target} here")
            case Close():
                why = f": {event.error}" if event.error else ""
                self._blame(ConnectionLost(f"{self.where} closed the connection{why}", invited=event.allow_reconnect))
            case HandshakeRefused():
                self._blame(GatewayUnreachable(f"{self.where} refused the handshake: {event.error[:200]}"))
            case ResumeFailed():
                self._blame(ConnectionLost(f"the session with {self.where} could not be resumed: {event.error}"))
            case Resumed():
                self.resumed += 1
        return b""

    def _blame(self, cause: GatewayError) -> None:
        """The first cause is the one that is told."""
        if self._cause is None:
            self._cause = cause

    async def _keep_time(self, socket: Socket) -> None:
        """Send pings and acknowledgements when due; end when the peer has been silent for too long."""
        # what is due may become so while we sleep (a pong, a message to acknowledge): never sleep longer than this
        longest = self.settings.ping_interval or 3600.0
        if self._engine.stateful:
            longest = min(longest, self.settings.limits.acknowledge)
        while True:
            due = min(self._engine.next_deadline(), self._heartbeat.next_deadline())
            await asyncio.sleep(min(max(due - self._now(), 0.001), longest))
            now = self._now()
            if not self._may_read.is_set():
                self._heard = now
                self._engine.excuse(now)
            if self._heartbeat.overdue(now, self._heard):
                why = f"a ping was not answered within {self.settings.ping_patience:g} s and nothing else came"
                self._blame(ConnectionLost(f"the connection to {self.where} is dead: {why}"))
                return
            data, events = self._engine.on_time(now)
            for event in events:
                if isinstance(event, TimedOut):
                    why = f"nothing came for {event.waited:.1f} s"
                    self._blame(ConnectionLost(f"the connection to {self.where} is dead: {why}"))
                    return
            ping = self._heartbeat.on_time(now, self._heard)
            if ping is not None:
                await self._sent(socket.ping(ping))
            if data:
                await self._send(socket, data)

    async def _send(self, socket: Socket, data: bytes) -> None:
        await self._sent(socket.send_str(data.decode()))

    async def _sent(self, work: Awaitable[None]) -> None:
        try:
            await work
        except TRANSPORT_ERRORS:
            lost = ConnectionLost(f"the connection to {self.where} was lost: nothing can be sent on it any more")
        else:
            return
        raise lost

    def _now(self) -> float:
        return self._mono_ns() * _SECONDS

    async def _resume(self) -> Socket | None:
        """Carry a stateful session over to a new socket, or give up after `resume_within` seconds."""
        self._engine.lose()
        end, wait = self._now() + self.settings.resume_within, 0.0
        while self._now() < end and not self._closing:
            await asyncio.sleep(wait)
            wait = min(2 * wait + 0.25, 5.0)
            try:
                socket = await self._dialer.dial()
            except GatewayUnreachable as error:
                if error.unknown:  # the gateway has forgotten the session: every moment more would be a wider gap
                    why = f"{self.where} does not know it any more"
                    self._cause = ConnectionLost(f"the session could not be resumed: {why}")
                    return None
                continue
            except GatewayError as error:
                self._cause = error
                return None
            self._socket = socket
            try:
                await self._send(socket, self._engine.resume(self._now()))
            except GatewayError:
                self._engine.lose()
                await hang_up(socket, self.settings.close_timeout)
                continue
            self._cause = None
            return socket
        return None

    # ------------------------------------------------------------------------------------------ invoking

    async def invoke(self, target: str, *arguments: Any) -> bytes | None:
        """Invoke a hub method; return its result as JSON (None: void). `run` must be going on, or about to.

        Raises:
            InvocationFailed: the hub answered with an error, or not in time.
            ConnectionLost: the connection ended before the answer.
        """
        socket = self._socket
        if socket is None or not self.is_open:
            raise ConnectionLost(f"the connection to {self.where} is not open; {target} was not sent")
        invocation_id, data = self._engine.invoke(target, arguments, self._now())
        waiting = _Waiting(asyncio.get_running_loop().create_future(), target)
        self._waiting[invocation_id] = waiting
        try:
            await self._send(socket, data)
            async with asyncio.timeout(self.settings.invoke_timeout):
                return await waiting.future
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(invocation_id, None)
            waiting.future.cancel()
        message = f"{self.where} did not answer {target} in {self.settings.invoke_timeout:g} s"
        raise InvocationFailed(message, answered=False)

    def _fail_waiting(self, error: GatewayError) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            if not each.future.done():
                each.future.set_exception(ConnectionLost(f"{each.target} has no answer: {error}"))

    async def subscribe(self, contract: str, streams: Sequence[str] = ("trades",)) -> None:
        """Subscribe a contract's streams on a market hub: any of `trades`, `quotes`, `depth`.

        Raises:
            SubscriptionRefused: the hub refused one; its message names the contract.
            ConnectionLost: the connection ended.
        """
        for stream in streams:
            await self._subscription(f"Subscribe{MARKET_STREAMS[stream]}", contract, stream)

    async def unsubscribe(self, contract: str, streams: Sequence[str] = ("trades",)) -> None:
        """Undo `subscribe`. When this returns, everything the hub had sent for the streams has been handed over."""
        for stream in streams:
            await self._subscription(f"Unsubscribe{MARKET_STREAMS[stream]}", contract, stream)

    async def subscribe_accounts(self) -> None:
        """Subscribe to account updates on a user hub."""
        await self.invoke("SubscribeAccounts")

    async def subscribe_account(self, account: int, streams: Sequence[str] = ("orders", "positions", "trades")) -> None:
        """Subscribe an account's streams on a user hub: any of `orders`, `positions`, `trades`.

        Raises:
            SubscriptionRefused: the hub refused one; its message gives the end of the account's number, and no more.
            ConnectionLost: the connection ended.
        """
        for stream in streams:
            await self._subscription(f"Subscribe{USER_STREAMS[stream]}", account, stream)

    async def unsubscribe_accounts(self, accounts: Sequence[int]) -> None:
        """Undo both of the above; when this returns, all their events have been handed over."""
        for account in accounts:
            for stream in USER_STREAMS.values():
                await self.invoke(f"Unsubscribe{stream}", account)
        await self.invoke("UnsubscribeAccounts")

    async def _subscription(self, target: str, of: str | int, stream: str) -> None:
        try:
            await self.invoke(target, of)
        except InvocationFailed as error:
            if not error.answered:
                raise
            words = str(error)[:200]
            if isinstance(of, int):  # the number of an account is nobody's business but its owner's
                words = words.replace(str(of), masked(of))
            refused = SubscriptionRefused(of if isinstance(of, str) else masked(of), stream, words)
        else:
            return
        raise refused

    # ------------------------------------------------------------------------------------------ closing

    async def close(self, *, patient: bool = True) -> None:
        """End the connection in order; `run` then returns. Safe to call at any time, more than once.

        Not patient: the peer is not there, as far as we know, so it is neither told nor waited for.
        """
        if self._closing:
            return
        self._closing = True
        data = self._engine.close()
        socket = self._socket
        if socket is None or socket.closed:
            return
        if not patient:
            self.settings = msgspec.structs.replace(self.settings, close_timeout=ABRUPT_S)
        elif data:
            try:
                async with asyncio.timeout(self.settings.close_timeout):
                    await self._send(socket, data)
            except (GatewayError, TimeoutError):
                pass  # it is being closed: that it is gone already is no news
        await hang_up(socket, 2 * self.settings.close_timeout)
