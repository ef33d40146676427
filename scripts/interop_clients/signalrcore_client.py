"""signalrcore against the gateway. Settings come from the environment (see ../interop-clients), the result is JSON."""

import importlib.metadata
import json
import logging
import os
import sys
import threading
import urllib.request

from signalrcore.hub_connection_builder import HubConnectionBuilder

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


def main() -> int:
    """Receive the ticks wanted, unsubscribe, and print what came."""
    builder = HubConnectionBuilder().with_url(
        f"{BASE}/hubs/market",
        options={
            "headers": {"Authorization": f"Bearer {login()}"},
            "skip_negotiation": os.environ.get("SKIP_NEGOTIATION") == "1",
        },
    )
    # Above CRITICAL: at DEBUG it prints the token.
    builder = builder.configure_logging(logging.CRITICAL + 1)
    if RECONNECTS:
        retry = {"type": "raw", "keep_alive_interval": 10, "reconnect_interval": 1, "max_attempts": 5}
        builder = builder.with_automatic_reconnect(retry)
    hub = builder.build()
    result = {"trades": [], "quotes": 0, "depth": 0, "nulls": 0, "connections": 0, "refused": ""}
    enough, refused, done = threading.Event(), threading.Event(), threading.Event()

    def opened() -> None:
        result["connections"] += 1
        for stream in STREAMS:
            hub.send(f"SubscribeContract{stream}", [CONTRACT])

    def trade(arguments: list) -> None:
        if arguments[0] == CONTRACT and isinstance(arguments[1], list):
            result["trades"] += arguments[1]
            if len(result["trades"]) >= WANTED and (not RECONNECTS or result["connections"] > 2):
                enough.set()

    def depth(arguments: list) -> None:
        result["depth"] += 1
        result["nulls"] += None in arguments[1]

    def quote(_: list) -> None:
        result["quotes"] += 1

    def error(completion: object) -> None:
        result["refused"] = completion.error
        refused.set()

    hub.on_open(opened)
    hub.on_reconnect(opened)
    hub.on_error(error)
    hub.on("GatewayTrade", trade)
    hub.on("GatewayQuote", quote)
    hub.on("GatewayDepth", depth)
    hub.start()
    if not enough.wait(PATIENCE_S):
        sys.stderr.write(f"only {len(result['trades'])} ticks came\n")
        return 1
    hub.send("NoSuchMethod", [], lambda _: None)
    refused.wait(10)
    hub.send("UnsubscribeContractTrades", [CONTRACT], lambda _: done.set())
    done.wait(10)
    hub.stop()
    print(json.dumps({"version": importlib.metadata.version("signalrcore"), **result}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
