"""What the gateway's tests drive it with: a clock moved by hand, a client by hand, and a parser of WebSocket frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tickloom.scripts.gateway.server import GatewayServer
from tickloom.scripts.gateway.settings import GatewaySettings
from tickloom.scripts.gateway.switches import parse_chaos

RS = "\x1e"
TIMEOUT = 10.0
START_NS = 1_763_829_000_000_000_000
MNQ, EP, CLE = "CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26"
HANDSHAKE = '{"protocol":"json","version":1}' + RS


class Clock:
    """Time that stands still until it is told to pass."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


class HubClient:
    """A hub connection by hand: what came is in `messages`, frame by frame in `frames`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[str] = []
        self.messages: list[Any] = []
        self.completions: dict[str, dict[str, Any]] = {}
        self.closed = False
        self._calls = 0

    async def read(self) -> None:
        """Take one frame in."""
        message = await self.socket.receive(timeout=TIMEOUT)
        if message.type is aiohttp.WSMsgType.TEXT:
            self.frames.append(message.data)
            for part in message.data.split(RS):
                if part:
                    self.messages.append(json.loads(part))
                    if self.messages[-1].get("type") == 3:
                        self.completions[self.messages[-1]["invocationId"]] = self.messages[-1]
        else:
            self.closed = True

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until it holds; the connection must not end before."""
        while not condition():
            assert not self.closed, f"closed, last: {self.messages[-3:]}"
            await self.read()

    async def shake(self) -> None:
        await self.socket.send_str(HANDSHAKE)
        await self.until(lambda: bool(self.messages))
        assert self.messages[0] == {}

    async def invoke(self, target: str, *arguments: object) -> dict[str, Any]:
        """Call a method; all that was sent before its completion has been read when it returns."""
        self._calls += 1
        mark = f"c{self._calls}"
        call = {"type": 1, "invocationId": mark, "target": target, "arguments": list(arguments)}
        await self.socket.send_str(json.dumps(call) + RS)
        await self.until(lambda: mark in self.completions)
        return self.completions[mark]

    async def ended(self) -> int | None:
        """Read to the end; return the close code."""
        while not self.closed:
            await self.read()
        return self.socket.close_code

    def of(self, target: str) -> list[list[Any]]:
        return [m["arguments"] for m in self.messages if m and m.get("type") == 1 and m["target"] == target]

    def trades(self, contract: str = MNQ) -> list[Any]:
        return [t for c, batch in self.of("GatewayTrade") if c == contract and isinstance(batch, list) for t in batch]

    def goodbyes(self) -> list[Any]:
        return [m for m in self.messages if m and m.get("type") == 7]


class Driver:
    """A gateway whose time the test moves, and clients of it."""

    def __init__(self, server: GatewayServer, clock: Clock, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.engine = server.engine
        self.clock = clock
        self.http = http

    async def pass_time(self, seconds: float, steps: int = 10) -> None:
        """Let time pass in so many beats; the event loop gets a turn after each."""
        for _ in range(steps):
            self.clock.now_ns += round(seconds * 1e9) // steps
            while self.server.beat():
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Give the event loop turns until it holds; the scenario's own time-out bounds it."""
        while not condition():
            await asyncio.sleep(0)

    def chaos(self, **switches: object) -> None:
        self.server.chaos(parse_chaos(switches))

    async def post(self, path: str, body: object = None, token: str | None = None) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = await self.http.post(self.server.url + path, json=body, headers=headers)
        await response.read()
        return response

    async def get(self, path: str, **query: object) -> Any:
        async with self.http.get(self.server.url + path, params={k: str(v) for k, v in query.items()}) as response:
            assert response.status == 200, (path, response.status, await response.text())
            text = await response.text()
            if response.content_type == "application/x-ndjson":
                return [json.loads(line) for line in text.splitlines()]
            return json.loads(text)

    async def login(self) -> str:
        response = await self.post("/api/Auth/loginKey", {"userName": "demo", "apiKey": "demo-key"})
        return str((await response.json())["token"])

    async def hub(
        self, hub: str = "market", token: str | None = None, *, shake: bool = True, query: str = ""
    ) -> HubClient:
        headers = {"Authorization": f"Bearer {token or await self.login()}"}
        socket = await self.http.ws_connect(
            f"{self.server.url}/hubs/{hub}{query}",
            headers=headers,
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=1),
        )
        client = HubClient(socket)
        if shake:
            await client.shake()
        return client

    async def delivered(self, client: HubClient, contract: str = MNQ) -> dict[str, Any]:
        """Unsubscribe, read the rest, and return what the newest connection was sent, as `/truth/sent` has it."""
        await client.invoke("UnsubscribeContractTrades", contract)
        return dict((await self.get("/truth/sent", contract=contract))[-1]["sent"])

    async def truth(self, first: int, last: int, contract: str = MNQ) -> list[dict[str, Any]]:
        return list(await self.get("/truth", contract=contract, **{"from": first, "to": last}))


Scenario = Callable[[Driver], Awaitable[None]]


@pytest.fixture
def play() -> Callable[..., None]:
    """Play a scenario against a gateway on real sockets whose time the scenario moves."""

    def run(scenario: Scenario, **settings: Any) -> None:
        async def main() -> None:
            clock = Clock()
            market = settings.pop("market", None)
            chosen = GatewaySettings(**{"history_s": 0, **settings})
            server = GatewayServer(chosen, clock=clock, auto=False, market=market)
            async with server, aiohttp.ClientSession() as http:
                await asyncio.wait_for(scenario(Driver(server, clock, http)), 30)

        asyncio.run(main())

    return run


def as_wire(tick: dict[str, Any], symbol: str = "F.US.MNQ") -> dict[str, Any]:
    """Return a tick of `/truth` as it looks in a GatewayTrade array."""
    return {
        "symbolId": symbol,
        "price": tick["price"],
        "timestamp": tick["timestamp"],
        "type": tick["type"],
        "volume": tick["volume"],
    }


@pytest.fixture
def wire_form() -> Callable[..., dict[str, Any]]:
    return as_wire


@pytest.fixture(scope="session")
def parse_frames() -> Callable[[bytes], list[tuple[int, bytes]]]:
    """Return a parser of unmasked WebSocket frames: (first byte, payload) of each (RFC 6455, 5.2)."""

    def parse(data: bytes) -> list[tuple[int, bytes]]:
        frames = []
        while data:
            first, size, at = data[0], data[1], 2
            assert size < 128, "a server's frames are not masked"
            if size == 126:
                size, at = int.from_bytes(data[2:4], "big"), 4
                assert size >= 126, "the shortest length is to be used"
            elif size == 127:
                size, at = int.from_bytes(data[2:10], "big"), 10
                assert size >= 1 << 16
            frames.append((first, data[at : at + size]))
            data = data[at + size :]
        return frames

    return parse
