"""An asyncio service with a session in it: bars are logged, health is watched, and an endpoint of its own serves both.

The service owns the event loop and the signals; Tickloom touches neither. Ctrl-C or SIGTERM ends it in order: the web
server first, then the session, which works off what it has received.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress

from aiohttp import web
from emulated import arguments, session_for

import tickloom


async def follow(session: tickloom.Session, contract: str) -> None:
    """Log each bar as it closes. The stream ends with the session."""
    point = session.instruments[contract].to_price
    async for bar in session.bars(contract, "1s"):
        print(json.dumps({"bar": bar.timeframe, "close": point(bar.close), "volume": bar.volume}), flush=True)


def endpoints(session: tickloom.Session, contract: str) -> web.Application:
    """What the service serves: reading a session waits for nobody, so a handler may do it as it is."""

    async def health(_: web.Request) -> web.Response:
        now = session.health()
        status = 200 if now.status == "healthy" else 503
        return web.json_response({"status": now.status, "reasons": now.reasons}, status=status)

    async def bars(request: web.Request) -> web.Response:
        try:
            table = session.table(contract, request.match_info["timeframe"], last=100, partial=True)
        except (tickloom.UsageError, ValueError) as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return web.json_response(text=json.dumps(table.to_pylist(), default=str))

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/bars/{timeframe}", bars)])
    return app


async def serve(contract: str, seconds: float, *, live: bool) -> None:
    """Run until the time is over, or a signal comes."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    with session_for(contract, ("1s", "5s", "1m"), live=live) as session:
        async with session:
            following = asyncio.create_task(follow(session, contract))
            runner = web.AppRunner(endpoints(session, contract))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), seconds)
            await runner.cleanup()
        await following  # it ended with the session, after the last bar
        assert session.summary is not None
        print(json.dumps({"ticks": session.summary.ticks, "lost": session.summary.lost}), flush=True)


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0]).parse_args()
    asyncio.run(serve(given.contract, given.seconds, live=given.live))
