"""What the examples share: a gateway to connect to. The emulator by default, your own account with `--live`."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import tickloom
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"


def arguments(purpose: str, seconds: float = 6.0) -> argparse.ArgumentParser:
    """The command line that the examples have in common."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--seconds", type=float, default=seconds, help="how long to run")
    parser.add_argument("--live", action="store_true", help="your settings and credentials, not the emulator")
    parser.add_argument("--contract", default=MNQ)
    return parser


@contextmanager
def session_for(contract: str, timeframes: tuple[str, ...], *, live: bool) -> Iterator[tickloom.Session]:
    """A session that has not been started, and behind it an emulator for as long as the block lasts."""
    wanted = {"session.contracts": (contract,), "session.timeframes": timeframes}
    if live:
        yield tickloom.Session(wanted)
        return
    key = secrets.token_urlsafe(16)
    with Emulator((contract,), rate=300, user="example", key=key) as gateway:
        addresses = {
            "gateway.api_url": gateway.api_url,
            "gateway.market_hub_url": gateway.market_hub_url,
            "gateway.user_hub_url": gateway.user_hub_url,
        }
        credentials = tickloom.Credentials("example", tickloom.Secret(key), "made up for the emulator")
        yield tickloom.Session({**wanted, **addresses}, credentials=credentials)
