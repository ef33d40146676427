"""The REST endpoints: log-in, contracts, accounts, bars.

A business failure is HTTP 200 with `success: false` and a code of the endpoint's own enum; 401 without a valid token,
429 with `Retry-After` past the rate limit, 400 for a body that is not what the endpoint wants.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from tickloom.scripts.gateway.auth import bearer, unauthorized
from tickloom.scripts.gateway.engine import Engine
from tickloom.scripts.gateway.limits import SlidingWindow
from tickloom.scripts.gateway.stamps import SECOND_NS
from tickloom.scripts.gateway.tokens import Claims
from tickloom.scripts.gateway.users import ACCOUNTS, account_payload

MOST_CONTRACTS = 20
MOST_BARS = 20_000
_LOGIN_ERRORS = {
    1: "User not found.",
    2: "Password verification failed.",
    3: "Invalid credentials.",
    4: "App not found.",
    5: "App verification failed.",
    6: "Invalid device.",
    7: "Agreements not signed.",
    8: "Unknown error.",
    9: "API subscription not found.",
    10: "API key authentication disabled.",
}
_VALIDATE_ERRORS = {1: "Invalid session.", 2: "Session not found.", 3: "Expired token.", 4: "Unknown error."}
_BARS_ERRORS = {1: "Contract not found.", 2: "Invalid unit.", 3: "Invalid unit number.", 4: "Invalid limit."}

T = TypeVar("T")


class Login(msgspec.Struct, rename="camel"):
    """Body of `loginKey`."""

    user_name: str
    api_key: str

    def __repr__(self) -> str:
        return "Login()"


class Search(msgspec.Struct, rename="camel"):
    """Body of `Contract/search`; with `live` only contracts with live data are wanted."""

    search_text: str | None = None
    live: bool = False


class ById(msgspec.Struct, rename="camel"):
    """Body of `Contract/searchById`."""

    contract_id: str


class Available(msgspec.Struct):
    """Body of `Contract/available`."""

    live: bool = False


class BarsWanted(msgspec.Struct, rename="camel"):
    """Body of `retrieveBars`; every field is required."""

    contract_id: str
    live: bool
    start_time: str
    end_time: str
    unit: int
    unit_number: int
    limit: int
    include_partial_bar: bool


def reply(body: object, status: int = 200) -> web.Response:
    """Return `body` as JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", charset="utf-8")


def _result(error: int, errors: dict[int, str], **fields: object) -> web.Response:
    message = errors.get(error, "Unknown error.") if error else None
    return reply({**fields, "success": not error, "errorCode": error, "errorMessage": message})


def _bad_request(detail: str) -> web.HTTPBadRequest:
    problem = {"title": "One or more validation errors occurred.", "status": 400, "detail": detail}
    return web.HTTPBadRequest(text=msgspec.json.encode(problem).decode(), content_type="application/problem+json")


def _instant(text: str) -> float:
    """Return an ISO time as Unix seconds; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Rest:
    """The handlers, over an engine; `now` reads the clock."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints."""
        history, other = self._engine.history_limit, self._engine.other_limit
        return [
            web.get("/api/Status/ping", self._ping),
            web.post("/api/Auth/loginKey", self._login),
            web.post("/api/Auth/validate", self._guarded(self._validate, other)),
            web.post("/api/Account/search", self._guarded(self._accounts, other)),
            web.post("/api/Contract/search", self._guarded(self._search, other)),
            web.post("/api/Contract/searchById", self._guarded(self._by_id, other)),
            web.post("/api/Contract/available", self._guarded(self._available, other)),
            web.post("/api/History/retrieveBars", self._guarded(self._bars, history)),
        ]

    def _guarded(
        self, handler: Callable[[web.Request, Claims], Awaitable[web.Response]], limit: SlidingWindow
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            claims = bearer(self._engine, request, self._now())
            if isinstance(claims, str):
                return unauthorized()
            return self._limited(limit, claims.user) or await handler(request, claims)

        return guarded

    def _limited(self, limit: SlidingWindow, caller: str) -> web.Response | None:
        wait = limit.admit(caller, self._now())
        if not wait:
            return None
        self._engine.counters["rate_limited"] += 1
        return web.Response(status=429, headers={"Retry-After": str(math.ceil(wait))})

    def _failing(self, status: int) -> web.Response:
        headers = {}
        if status in (429, 503):
            headers["Retry-After"] = f"{self._engine.faults.switches.retry_after_s:g}"
        return web.Response(status=status, headers=headers)

    async def _body(self, request: web.Request, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(await request.read() or b"{}", type=shape)
        except msgspec.DecodeError as error:
            raise _bad_request(str(error)) from None

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="pong")

    async def _login(self, request: web.Request) -> web.Response:
        engine, switches = self._engine, self._engine.faults.switches
        limited = self._limited(engine.other_limit, "")
        if limited:
            return limited
        if engine.faults.take("login_fail"):
            return self._failing(switches.login_fail_status)
        body = await self._body(request, Login)
        error = switches.login_error or (0 if engine.settings.account.admits(body.user_name, body.api_key) else 3)
        token = None if error else engine.tokens.issue(body.user_name, switches.token_ttl_s, self._now())
        engine.counters["login_refused" if error else "login"] += 1
        return _result(error, _LOGIN_ERRORS, token=token)

    async def _validate(self, request: web.Request, claims: Claims) -> web.Response:
        switches = self._engine.faults.switches
        error = switches.validate_error
        token = None if error else self._engine.tokens.issue(claims.user, switches.token_ttl_s, self._now())
        self._engine.counters["validate"] += 1
        return _result(error, _VALIDATE_ERRORS, newToken=token)

    async def _accounts(self, request: web.Request, claims: Claims) -> web.Response:
        return _result(0, {}, accounts=[account_payload(account) for account in ACCOUNTS])

    def _served(self, *, live: bool) -> list[dict[str, Any]]:
        if live and not self._engine.settings.live_data:
            return []
        return [spec.payload() for spec in self._engine.specs.values()]

    async def _search(self, request: web.Request, claims: Claims) -> web.Response:
        body = await self._body(request, Search)
        wanted = (body.search_text or "").strip().lower()
        found = [
            c for c in self._served(live=body.live) if wanted in f"{c['id']} {c['name']} {c['description']}".lower()
        ]
        return _result(0, {}, contracts=found[:MOST_CONTRACTS])

    async def _by_id(self, request: web.Request, claims: Claims) -> web.Response:
        spec = self._engine.specs.get((await self._body(request, ById)).contract_id)
        return _result(0 if spec else 1, _BARS_ERRORS, contract=spec.payload() if spec else None)

    async def _available(self, request: web.Request, claims: Claims) -> web.Response:
        return _result(0, {}, contracts=self._served(live=(await self._body(request, Available)).live))

    async def _bars(self, request: web.Request, claims: Claims) -> web.Response:
        engine, switches = self._engine, self._engine.faults.switches
        if engine.faults.take("history_fail"):
            return self._failing(switches.history_fail_status)
        if switches.history_delay_ms:
            await asyncio.sleep(switches.history_delay_ms / 1000)
        body = await self._body(request, BarsWanted)
        if switches.history_error:
            return _result(switches.history_error, _BARS_ERRORS, bars=None)
        spec = engine.specs.get(body.contract_id)
        checks = (spec is None, not 1 <= body.unit <= 6, body.unit_number < 1, not 1 <= body.limit <= MOST_BARS)
        if spec is None or any(checks):
            return _result(checks.index(True) + 1, _BARS_ERRORS, bars=None)
        try:
            begin, end = math.ceil(_instant(body.start_time)), math.floor(_instant(body.end_time))
        except (ValueError, OverflowError):
            raise _bad_request("startTime and endTime must be ISO 8601 times") from None
        now = (self._now() - round(switches.history_lag_s * SECOND_NS)) // SECOND_NS
        bars = []
        if not body.live or engine.settings.live_data:
            bars = engine.market.bars(spec.id).roll(begin, min(end, now) + 1, body.unit, body.unit_number)
        shown = [
            {
                "t": datetime.fromtimestamp(bar.opens, UTC).isoformat(),
                "o": bar.open,
                "h": bar.high,
                "l": bar.low,
                "c": bar.close,
                "v": bar.volume,
            }
            for bar in reversed(bars)
            if bar.closes <= now or body.include_partial_bar
        ]
        return _result(0, {}, bars=shown[: body.limit])
