"""The web application: routes over the views, behind the guard. It knows aiohttp, and nothing of actors or sockets.

Every route is a GET. `/livez`, `/readyz` and `/metrics` are for machines of this machine (a service manager, a
Prometheus) and want no pass, as the page's own files want none; everything that shows data of the session does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import web

from tickloom.actors.http.assets import LOCKED, PAGE, Asset
from tickloom.actors.http.charts import MOST, Chart, columns, newest_bars
from tickloom.actors.http.forms import actor_form, event_form, health_form, session_form
from tickloom.actors.http.guard import Guard
from tickloom.actors.http.metrics import CONTENT_TYPE, Traffic, exposition, make_registry
from tickloom.actors.http.stream import BARS, CHART_S, EVENTS, Boards, Reader
from tickloom.actors.http.views import Views
from tickloom.config.timeframes import Timeframe, TimeframeError

STREAMS: Final = 32
"""Most pages kept up to date at once."""

SEND_S: Final = 20.0
"""Longest a page may take to read what it was sent before it is given up."""

BYE_S: Final = 0.5
"""Longest the end of a stream may take to be sent when the actor ends."""

OPEN: Final = ("/livez", "/readyz", "/metrics", "/", "/favicon.ico")
"""Paths that want no pass (`/` sees to that itself), beside those below `/static/`."""

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "tickloom",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_encode = msgspec.json.Encoder().encode


class Server:
    """The application of one http actor.

    Args:
        views: of the session.
        guard: for the port that is served.
        assets: the page's files.
        traffic: where requests and streams are counted.
        wall_ns, mono_ns: the clocks (ns).
        pause: waits for so many seconds.
        failed: told of an exception in a handler; the request is answered with status 500.
    """

    def __init__(
        self,
        views: Views,
        guard: Guard,
        assets: Mapping[str, Asset],
        traffic: Traffic,
        *,
        wall_ns: Callable[[], int],
        mono_ns: Callable[[], int],
        pause: Callable[[float], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._views = views
        self._guard = guard
        self._assets = assets
        self._traffic = traffic
        self._pause = pause
        self._failed = failed
        self._boards = Boards(views, wall_ns, mono_ns)
        self._registry = make_registry(views, traffic)

    def application(self) -> web.Application:
        """Return the application, to be run by whoever has a loop and a socket."""
        app = web.Application(middlewares=[self._answer])
        app.on_response_prepare.append(self._prepare)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/favicon.ico", self._icon),
                web.get("/static/{path:.+}", self._static),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/api/session", self._session),
                web.get("/api/health", self._health),
                web.get("/api/statistics", self._statistics),
                web.get("/api/tree", self._tree),
                web.get("/api/bars", self._bars),
                web.get("/api/events", self._events),
                web.get("/api/stream", self._stream, allow_head=False),
            ]
        )
        return app

    # --- every request -----------------------------------------------------------------------------------------------

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Judge, answer, and turn whatever goes wrong into a sentence."""
        headers = request.headers
        refusal = self._guard.refusal(
            headers.getall("Host", []),
            headers.getall("Origin", []),
            site=headers.get("Sec-Fetch-Site", ""),
            navigation=request.path == "/" and headers.get("Sec-Fetch-Dest") == "document",
        )
        if refusal is not None:
            return _text(403, refusal)
        if request.path not in OPEN and not request.path.startswith("/static/") and not self._admitted(request):
            return _error(401, "open the address the session printed, or send its token as `Authorization: Bearer …`")
        try:
            return await handler(request)
        except web.HTTPException as answer:
            return _error(answer.status, f"{request.method} {request.path}: {answer.reason.lower()}", answer.headers)
        except ConnectionError:
            raise  # the other side has gone, there is nobody to answer
        except Exception as error:  # noqa: BLE001 - a request cannot have done any damage: told, answered, and on we go
            self._failed(error)
            return _error(500, "the answer could not be made; the tree shows the failure at this actor")

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        self._traffic.count(response.status)
        response.headers.update(HEADERS)
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"

    def _admitted(self, request: web.Request) -> bool:
        return self._guard.admits(request.cookies, request.headers.get("Authorization", ""))

    # --- page --------------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        """The page; with `?token=`, the cookie and the way to the page without it."""
        token = request.query.get("token")
        if token is not None and (self._guard.is_token(token) or self._admitted(request)):
            response = web.Response(status=303, headers={"Location": "/"})
            if self._guard.is_token(token):
                response.set_cookie(
                    self._guard.cookie, self._guard.cookie_value, path="/", httponly=True, samesite="Strict"
                )
            return response
        if not self._admitted(request):
            return _asset(self._assets[LOCKED], status=401)
        return _asset(self._assets[PAGE])

    async def _icon(self, request: web.Request) -> web.StreamResponse:
        return _asset(self._assets["favicon.svg"], cache="no-cache")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        asset = self._assets.get(request.match_info["path"])
        if asset is None or asset.content_type.startswith("text/html"):
            raise web.HTTPNotFound
        if request.headers.get("If-None-Match") == asset.etag:
            return web.Response(status=304, headers={"ETag": asset.etag, "Cache-Control": "no-cache"})
        return _asset(asset, cache="no-cache")

    # --- machines ----------------------------------------------------------------------------------------------------

    async def _livez(self, request: web.Request) -> web.StreamResponse:
        """Whether the tree runs."""
        tree = self._views.tree()
        return _text(200, "ok") if tree.alive else _text(503, f"the tree is {tree.state}")

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        """Whether bars can be relied on now: every hub is up, and health is not `unhealthy`."""
        health = health_form(self._views.health())
        troubles = [f"{hub} hub is {state}" for hub, state in sorted(health.links.items()) if state != "up"]
        if not health.links:
            troubles.append("no hub has been connected yet")
        if health.status == "unhealthy":
            troubles += health.reasons
        return _text(503, "\n".join(dict.fromkeys(troubles))) if troubles else _text(200, "ok")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=exposition(self._registry), headers={"Content-Type": CONTENT_TYPE})

    # --- API ---------------------------------------------------------------------------------------------------------

    async def _session(self, request: web.Request) -> web.StreamResponse:
        return _json(session_form(self._views))

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return _json(health_form(self._views.health()))

    async def _statistics(self, request: web.Request) -> web.StreamResponse:
        return _json(self._views.statistics())

    async def _tree(self, request: web.Request) -> web.StreamResponse:
        """The tree, or with `?path=` the part of it at and below that path; with tracebacks."""
        view = self._views.tree()
        path = request.query.get("path", "/")
        try:
            found = view.find(path)
        except LookupError:
            return _error(404, f"there is no actor at {path}")
        return _json(actor_form(found, self._views.statistics().latency_by_source, whole=True))

    async def _bars(self, request: web.Request) -> web.StreamResponse:
        """Bars of `?contract=&timeframe=`, the newest `last` of them (500), open ones too unless `open=0`."""
        contract, wanted = request.query.get("contract", ""), request.query.get("timeframe", "")
        instrument = self._views.instruments().get(contract)
        if instrument is None:
            known = ", ".join(self._views.instruments()) or "none yet"
            return _error(404, f"contract {contract or '(none given)'} is not followed; followed are: {known}")
        try:
            timeframe = str(Timeframe.parse(wanted))
        except TimeframeError as error:
            return _error(400, f"timeframe: {error}")
        if timeframe not in self._views.timeframes():
            built = ", ".join(self._views.timeframes())
            return _error(404, f"timeframe {timeframe} is not built in this session; built are: {built}")
        last = _count(request, BARS, MOST)
        if isinstance(last, str):
            return _error(400, last)
        window = self._views.window(contract, timeframe)
        bars = newest_bars(window, last, open_too=request.query.get("open") != "0") if window is not None else []
        return _json(Chart(contract, timeframe, True, columns(bars, instrument)))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The latest events, the newest `last` of them (200), oldest first."""
        last = _count(request, EVENTS, MOST)
        if isinstance(last, str):
            return _error(400, last)
        return _json([event_form(event) for event in self._views.events()[-last:]])

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """The page's stream, for `?contract=&timeframe=`; see `stream`. An unknown contract has no chart."""
        if self._traffic.streams >= STREAMS:
            return _error(503, f"{STREAMS} pages are open already: close one")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        reader = Reader(
            self._views, self._boards, request.query.get("contract", ""), request.query.get("timeframe", "")
        )
        self._traffic.streams += 1
        try:
            await response.prepare(request)
            while True:
                news = reader.news()
                if news:
                    async with asyncio.timeout(SEND_S):
                        await response.write(news)
                await self._pause(CHART_S)
        except (ConnectionError, TimeoutError):
            return response  # the page was closed, or reads no more; it will ask again if it wants to
        except asyncio.CancelledError:
            # the actor ends: the page should see an end, not a broken connection
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(BYE_S):
                    await response.write_eof()
            raise
        finally:
            self._traffic.streams -= 1


def _count(request: web.Request, default: int, most: int) -> int | str:
    """Return the parameter `last`, or a sentence about what is wrong with it."""
    text = request.query.get("last", str(default))
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most:
        return int(text)
    return f"last is {text[:40]!r}: give a whole number from 1 to {most}"


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    extra = {name: headers[name] for name in ("Allow",) if headers and name in headers}
    return web.Response(body=_encode(value), status=status, content_type="application/json", headers=extra)


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json({"error": sentence}, status, headers)


def _text(status: int, text: str) -> web.Response:
    return web.Response(text=f"{text}\n", status=status)


def _asset(asset: Asset, *, status: int = 200, cache: str = "no-store") -> web.Response:
    headers = {"Content-Type": asset.content_type, "ETag": asset.etag, "Cache-Control": cache}
    return web.Response(body=asset.body, status=status, headers=headers)
