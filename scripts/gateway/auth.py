"""Where a token may be carried: the `Authorization` header, or the query only where that is allowed."""

from __future__ import annotations

from aiohttp import web

from tickloom.scripts.gateway.engine import Engine
from tickloom.scripts.gateway.tokens import Claims, TokenRefusedError


def bearer(engine: Engine, request: web.Request, now_ns: int) -> Claims | str:
    """Return what the request's token says, or in one word why it has no good one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    carried = "header"
    if kind.lower() != "bearer" or not token.strip():
        token, carried = request.query.get("access_token", ""), "query"
        if not token or not engine.settings.allow_query:
            engine.counters["refused_query_token" if token else "refused_no_token"] += 1
            return "no_token"
    try:
        claims = engine.tokens.check(token.strip(), now_ns)
    except TokenRefusedError as error:
        engine.counters[f"refused_{error}"] += 1
        return str(error)
    engine.counters[f"token_in_{carried}"] += 1
    return claims


def unauthorized() -> web.Response:
    """Return 401 as ASP.NET Core does."""
    return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
