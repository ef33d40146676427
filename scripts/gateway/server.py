"""The gateway as a server within an event loop: sockets, and the pump that lets time pass.

    async with GatewayServer(GatewaySettings(rate=1000)) as gateway:
        ...  # gateway.url, gateway.market_hub_url, gateway.user_hub_url

It owns one task (the pump) beside aiohttp's; all are gone when `stop` returns. With `auto=False` there is no pump:
whoever holds the server calls `beat`, and time stands still in between if the clock given does.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from tickloom.scripts.gateway.contracts import choose
from tickloom.scripts.gateway.engine import Engine
from tickloom.scripts.gateway.hubs import Hubs
from tickloom.scripts.gateway.market import ModelMarket
from tickloom.scripts.gateway.rest import Rest
from tickloom.scripts.gateway.settings import GatewaySettings
from tickloom.scripts.gateway.switches import ChaosRequest
from tickloom.scripts.gateway.ticks import Market
from tickloom.scripts.gateway.truth import Truth

_BUSY_S: Final = 0.001
_IDLE_S: Final = 0.01
_ALONE_S: Final = 0.1
_BODY: Final = 256 * 1024


class GatewayServer:
    """One gateway. `market` is played instead of the model; `clock` gives ns UTC; `tls` makes it https and wss."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        market: Market | None = None,
        clock: Callable[[], int] = time.time_ns,
        tls: ssl.SSLContext | None = None,
        auto: bool = True,
    ) -> None:
        now = clock()
        self.settings = settings
        self.engine = Engine(settings, market or model_market(settings, now), secrets.token_bytes(32), now)
        self.engine.chaos(settings.chaos, now)
        self._clock = clock
        self._tls = tls
        self._auto = auto
        self._runner: web.AppRunner | None = None
        self._pump: asyncio.Task[None] | None = None
        self._address = ("", 0)
        self._arrival = asyncio.Event()
        self.engine.on_arrival = self._arrival.set

    async def start(self) -> None:
        """Listen, and let time pass.

        Raises:
            OSError: the address is taken or cannot be bound.
        """
        app = web.Application(client_max_size=_BODY)
        for part in (Rest, Hubs, Truth):
            app.add_routes(part(self.engine, self._clock).routes())
        # Query strings may hold tokens, so nothing is logged per request. Handlers end by themselves once their
        # connections do (see stop), the time-out is for those that hang.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
        await self._runner.setup()
        try:
            await web.TCPSite(
                self._runner, self.settings.host, self.settings.port, ssl_context=self._tls, backlog=512
            ).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._address = self._runner.addresses[0][:2]
        if self._auto:
            self._pump = asyncio.create_task(self._run(), name="gateway pump")

    async def stop(self) -> None:
        """End all connections without a close message, as a host that stops does, and stop listening.

        Raises:
            Exception: whatever the pump died of, if it did.
        """
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.wait({pump})
        for connection in list(self.engine.connections.values()):
            connection.end("tcp", "server_shutdown")
            connection.audible.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if pump is not None and not pump.cancelled():
            pump.result()

    async def wait(self) -> None:
        """Wait for the pump, which runs until `stop`; raises what it died of."""
        if self._pump is not None:
            await asyncio.shield(self._pump)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def beat(self) -> bool:
        """Let time pass to the clock's now; True if there is more to send at once."""
        return self.engine.beat(self._clock())

    def chaos(self, request: ChaosRequest) -> None:
        """Set fault switches, as `POST /chaos` does."""
        self.engine.chaos(request, self._clock())

    async def _run(self) -> None:
        while True:
            more = self.beat()
            self.engine.market.prepare()
            # When it is quiet, or nobody is there, there is no hurry: a tick is stamped when it happens.
            if more or self.engine.connections:
                await asyncio.sleep(0 if more else _BUSY_S if self.engine.busy else _IDLE_S)
                continue
            self._arrival.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ALONE_S):
                    await self._arrival.wait()

    def _base(self, scheme: str) -> str:
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}{'s' if self._tls else ''}://{shown}:{port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The base of the REST endpoints."""
        return self._base("http")

    @property
    def market_hub_url(self) -> str:
        """The market hub; http, as SignalR clients want it (the upgrade is theirs)."""
        return self.url + "/hubs/market"

    @property
    def user_hub_url(self) -> str:
        """The user hub."""
        return self.url + "/hubs/user"


def model_market(settings: GatewaySettings, now_ns: int) -> ModelMarket:
    """Return the model that the settings describe.

    Raises:
        UnknownContractError: a contract is not in the catalogue.
    """
    return ModelMarket(
        choose(settings.contracts),
        seed=settings.seed,
        rate=settings.rate,
        start_ns=now_ns,
        lively=settings.lively,
        history_s=settings.history_s,
        history_rate=settings.history_rate,
        window=settings.truth_window,
    )
