from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.dial import HubSettings
from tickloom.actors.connection.transport import HubConnection
from tickloom.config.secrets import Secret

GOLDEN = Path(__file__).parent / "golden"
RS = b"\x1e"
CANARY = "canary-eyJhbGciOi.JIUzI1NiJ9.token"


class Golden(NamedTuple):
    """Frames as ASP.NET Core 9.0.7 sent them (the handshake reply is the first), and what its truth endpoint said."""

    frames: list[bytes]
    truth: dict

    @property
    def payloads(self) -> list[bytes]:
        return self.frames[1:]


@pytest.fixture(scope="session")
def golden():
    """Gives the golden frames of that name (captured from the interop gateway; a frame a line)."""

    def load(name: str) -> Golden:
        lines = (GOLDEN / f"{name}.frames").read_bytes().split(b"\n")[:-1]
        return Golden(lines, json.loads((GOLDEN / f"{name}.json").read_text()))

    return load


def message(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + RS


class Caller:
    """The peer's side of one hub connection, after the upgrade."""

    def __init__(self, peer: Peer, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.peer = peer
        self.socket = socket
        self.request = request
        self.heard: list[dict] = []
        self.mute = False  # whether it leaves WebSocket pings unanswered

    async def receive(self, kind: int | None = None) -> dict:
        """The next message, or the next one of that type."""
        while True:
            frame = await self.socket.receive()
            if frame.type is aiohttp.WSMsgType.PING:
                if not self.mute:
                    await self.socket.pong(frame.data)
                continue
            if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                raise ConnectionError(f"the client is gone: {frame.type}")
            assert frame.type is aiohttp.WSMsgType.TEXT, "a client must send text"
            assert frame.data.endswith("\x1e")
            parts = [json.loads(part) for part in frame.data.split("\x1e")[:-1]]
            self.heard += parts
            for part in parts:
                if kind is None or part.get("type") == kind:
                    return part

    async def send(self, data: bytes) -> None:
        await self.socket.send_str(data.decode())

    async def shake(self, more: bytes = b"") -> dict:
        """Take the handshake; the reply may share its frame with more."""
        request = await self.receive()
        await self.send(b"{}" + RS + more)
        return request

    async def answer(self, error: str | None = None) -> dict:
        """Answer the next invocation."""
        invocation = await self.receive(1)
        more = {"result": None} if error is None else {"error": error}
        await self.send(message(type=3, invocationId=invocation["invocationId"], **more))
        return invocation

    async def leave(self) -> None:
        """Wait until the client has gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.receive()

    def cut(self) -> None:
        """Break the TCP connection off."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()


Script = Callable[[Caller], Awaitable[None]]


class Peer:
    """A gateway on loopback that does what a test's script says. It is what the client talks to, not a part of it."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.requests: list[web.Request] = []
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.callers: list[Caller] = []
        self.errors: list[BaseException] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"

    async def stop(self) -> None:
        for caller in self.callers:
            await caller.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.get(request.path)
        if answer is not None:
            return await answer(request)
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0, timeout=0.5)
        await socket.prepare(request)
        caller = Caller(self, socket, request)
        self.callers.append(caller)
        try:
            await self.scripts.pop(0)(caller)
        except ConnectionError:
            pass
        except AssertionError as error:
            self.errors.append(error)
        return socket


@contextlib.asynccontextmanager
async def meeting(*scripts: Script, tls: ssl.SSLContext | None = None, ca: Path | None = None, host: str = "127.0.0.1"):
    """A peer with its scripts (one a connection) and an HTTP session for the client."""
    peer = Peer()
    peer.scripts = list(scripts)
    await peer.start(tls, host)
    session = open_session(ca)
    try:
        async with asyncio.timeout(20):
            yield peer, session
    finally:
        await session.close()
        await peer.stop()
    assert not peer.errors, peer.errors


class Client:
    """A connection to a peer, running, with what it delivered."""

    def __init__(self, connection: HubConnection) -> None:
        self.connection = connection
        self.batches: list[tuple[list[bytes], list[int], list[int]]] = []
        self.task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    @property
    def data(self) -> bytes:
        return b"".join(payload for batch in self.batches for payload in batch[0])

    def take(self, *batch: Any) -> None:
        self.batches.append(batch)  # type: ignore[arg-type]
        self._arrived.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()


@contextlib.asynccontextmanager
async def running(peer: Peer, session: aiohttp.ClientSession, token: str = CANARY, **settings: Any):
    """A client connected to the peer's market hub, receiving."""
    clocks = {name: settings.pop(name) for name in ("wall_ns", "mono_ns") if name in settings}
    settings = {"url": f"{peer.url}/hubs/market", "close_timeout": 0.5} | settings
    client = Client(HubConnection(HubSettings(**settings), Secret(token), session, **clocks))
    await client.connection.open()
    client.task = asyncio.create_task(client.connection.run(client.take))
    try:
        yield client
    finally:
        await client.connection.close()
        await asyncio.gather(client.task, return_exceptions=True)


class Net(NamedTuple):
    """What tests of the network use: one argument instead of six."""

    meeting: Any
    running: Any
    message: Any
    canary: str


@pytest.fixture
def net() -> Net:
    """A scripted peer on loopback, and a client connected to it."""
    return Net(meeting, running, message, CANARY)
