"""The http actor: one event loop, one listening socket on 127.0.0.1, and the application on it.

It reads what others have committed and sends nothing to anybody, so however busy or broken it is, no tick waits for
it. An incarnation that comes back after a crash listens on the same port again: pages find it where they left it.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

import msgspec
from aiohttp import web

from tickloom.actors.http.assets import load_assets
from tickloom.actors.http.guard import LOOPBACK, Guard
from tickloom.actors.http.metrics import Traffic
from tickloom.actors.http.server import Server
from tickloom.actors.http.views import Views
from tickloom.config.secrets import Secret
from tickloom.supervision import NOTHING, ActorContext, AsyncActor, Exit

BACKLOG: Final = 64
"""Connections the system holds for us until we take them."""

CLOSE_S: Final = 0.5
"""Longest that answers under way are waited for at the end."""


class PortError(OSError):
    """The port cannot be had. The sentence names it and says what to do."""


class Listening(msgspec.Struct, frozen=True):
    """What outlives an incarnation: the port that was found free."""

    port: int


class HttpActor(AsyncActor):
    """Serves the dashboard, the API, health and metrics.

    Args:
        views: what may be seen.
        port: where; 0 takes one that is free, and keeps it.
        fallback: if `port` is in use when the session begins, take one that is free.
        token: of this start; whoever opens the page with it gets the cookie.
        key: what cookies are made from.

    Raises:
        PortError: from the start of the actor, when the port is in use or may not be used.
    """

    def __init__(
        self, context: ActorContext, views: Views, *, port: int, token: Secret, key: Secret, fallback: bool = False
    ) -> None:
        super().__init__(context)
        self._views = views
        self._port = port
        self._fallback = fallback
        self._token = token
        self._key = key
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None

    async def on_start(self) -> None:  # type: ignore[override]  # pykka's hook of this name is not async
        """Listen, on the port of the incarnation before if there was one."""
        kept = self.context.recall()
        self._socket = self._first_socket() if kept is NOTHING else listen(kept.port)
        port = self._socket.getsockname()[1]
        self.context.commit(Listening(port))
        clock = self.context.clock
        server = Server(
            self._views,
            Guard(port, self._token, self._key),
            load_assets(),
            Traffic(),
            wall_ns=clock.wall_ns,
            mono_ns=clock.monotonic_ns,
            pause=self.sleep,
            failed=lambda error: self._tell_failure("request", error),
        )
        # access_log: the address with the token must not be in a log
        self._runner = web.AppRunner(
            server.application(), access_log=None, handle_signals=False, shutdown_timeout=CLOSE_S
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=BACKLOG).start()

    def _first_socket(self) -> socket.socket:
        """Listen where we were told to. That a port is free is known by having it, not by having asked before."""
        try:
            return listen(self._port)
        except PortError:
            if not self._fallback:
                raise
            return listen(0)

    def holds(self) -> dict[str, int]:
        """Its tasks, the socket it listens on, and those of whoever is connected."""
        bound, server = self._socket, self._runner.server if self._runner is not None else None
        listening = int(bound is not None and bound.fileno() >= 0)
        return super().holds() | {"sockets": listening + (len(server.connections) if server is not None else 0)}

    async def on_exit(self, reason: Exit) -> None:
        """Hang up on everybody; pages try again by themselves."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()


def listen(port: int) -> socket.socket:
    """Return a socket bound to 127.0.0.1 and nothing else.

    Raises:
        PortError: the port is in use, or may not be used (one below 1024).
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortError(
                f"port {port} of {LOOPBACK} is in use: choose another for the dashboard, 0 for any that is free, or "
                "turn it off"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PortError(f"port {port} of {LOOPBACK} may not be used: choose one above 1023") from None
        raise
    return made
