"""pysignalr against the gateway. Settings come from the environment (see ../interop-clients), the result is JSON."""

import asyncio
import importlib.metadata
import json
import os
import sys
import urllib.request

from pysignalr.client import SignalRClient

BASE, CONTRACT = os.environ["GATEWAY_URL"], os.environ["CONTRACT"]
WANTED = int(os.environ["TICKS"])
RECONNECTS = os.environ.get("RECONNECT") == "1"
STREAMS = ("Trades", "Quotes", "MarketDepth")
PATIENCE_S = 60


def login() -> str:
    """Return a token."""
    body = json.dumps({"userName": os.environ["GATEWAY_USER"], "apiKey": os.environ["GATEWAY_KEY"]}).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is the gateway's, started by the caller
        f"{BASE}/api/Auth/loginKey", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["token"])


async def main() -> int:
    """Receive the ticks wanted, unsubscribe, and print what came."""
    # `headers`, because its access_token_factory sends no token on the first connection.
    # When it reconnects it goes on with the connection id it has used up, which any server refuses.
    skip = os.environ.get("SKIP_NEGOTIATION") == "1" or RECONNECTS
    headers = {"Authorization": f"Bearer {await asyncio.to_thread(login)}"}
    # Negotiation is what turns http into ws; there is no public way to do without.
    url = f"{BASE.replace('http', 'ws', 1) if skip else BASE}/hubs/market"
    client = SignalRClient(url, headers=headers, max_size=None)
    client._transport._skip_negotiation = skip
    result = {"trades": [], "quotes": 0, "depth": 0, "nulls": 0, "connections": 0, "refused": ""}
    enough, refused, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def opened() -> None:
        result["connections"] += 1
        for stream in STREAMS:
            await client.send(f"SubscribeContract{stream}", [CONTRACT])

    async def trade(arguments: list) -> None:
        if arguments[0] == CONTRACT and isinstance(arguments[1], list):
            result["trades"] += arguments[1]
            if len(result["trades"]) >= WANTED and (not RECONNECTS or result["connections"] > 2):
                enough.set()

    async def depth(arguments: list) -> None:
        result["depth"] += 1
        result["nulls"] += None in arguments[1]

    async def quote(_: list) -> None:
        result["quotes"] += 1

    async def error(completion: object) -> None:
        result["refused"] = completion.error
        refused.set()

    async def completed(_: object) -> None:
        done.set()

    client.on_open(opened)
    client.on_error(error)
    client.on("GatewayTrade", trade)
    client.on("GatewayQuote", quote)
    client.on("GatewayDepth", depth)
    running = asyncio.create_task(client.run())
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait({running, waiting}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not enough.is_set():
        why = running.exception() if running.done() else f"only {len(result['trades'])} ticks came"
        sys.stderr.write(f"{why}\n")
        running.cancel()
        return 1
    await client.send("NoSuchMethod", [], completed)
    await asyncio.wait_for(refused.wait(), 10)
    done.clear()
    await client.send("UnsubscribeContractTrades", [CONTRACT], completed)
    await asyncio.wait_for(done.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(json.dumps({"version": importlib.metadata.version("pysignalr"), **result}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
