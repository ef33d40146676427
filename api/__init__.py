"""Tickloom weaves a live futures tick stream into exact OHLCV bars.

```python
import tickloom

async with tickloom.Session(config) as session:        # `with` works as well, no event loop needed
    async for bar in session.bars("CON.F.US.MNQ.Z25", "1m"):
        ...

result = tickloom.replay("log/", timeframes=["1s", "1m"])
```

Importing it starts nothing and changes nothing of the process. What is named here is imported when it is first used
(PEP 562): a program, a shell completion or the gateway emulator pays for the parts it touches, and the command line
takes Ctrl-C before a second of imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickloom.accounts import recorded_account_events
    from tickloom.actors.sinks.embedded import Sink
    from tickloom.actors.source import Source, Ticks
    from tickloom.config.credentials import Credentials
    from tickloom.config.secrets import Secret
    from tickloom.config.settings import Settings
    from tickloom.config.sources import load as load_settings
    from tickloom.errors import (
        AuthenticationError,
        FeedLostError,
        LogDamagedError,
        TickloomError,
        UsageError,
    )
    from tickloom.messages.accounts import AccountEvent
    from tickloom.messages.bars import Bar, BarFlag
    from tickloom.messages.market import Instrument
    from tickloom.messages.projectx import UserAccount, UserOrder, UserPosition, UserTrade
    from tickloom.messages.reports import Health, Latency, Statistics
    from tickloom.playback import Playback
    from tickloom.replaying import Replay, replay
    from tickloom.session import Session
    from tickloom.streams import AccountStream, BarStream
    from tickloom.summary import Summary

_WHERE = {
    "AccountEvent": "messages.accounts",
    "AccountStream": "streams",
    "AuthenticationError": "errors",
    "Bar": "messages.bars",
    "BarFlag": "messages.bars",
    "BarStream": "streams",
    "Credentials": "config.credentials",
    "FeedLostError": "errors",
    "Health": "messages.reports",
    "Instrument": "messages.market",
    "Latency": "messages.reports",
    "LogDamagedError": "errors",
    "Playback": "playback",
    "Replay": "replaying",
    "Secret": "config.secrets",
    "Session": "session",
    "Settings": "config.settings",
    "Sink": "actors.sinks.embedded",
    "Source": "actors.source",
    "Statistics": "messages.reports",
    "Summary": "summary",
    "TickloomError": "errors",
    "Ticks": "actors.source",
    "UsageError": "errors",
    "UserAccount": "messages.projectx",
    "UserOrder": "messages.projectx",
    "UserPosition": "messages.projectx",
    "UserTrade": "messages.projectx",
    "load_settings": "config.sources",
    "recorded_account_events": "accounts",
    "replay": "replaying",
}
_OTHER_NAMES = {"load_settings": "load"}

__all__ = [
    "AccountEvent",
    "AccountStream",
    "AuthenticationError",
    "Bar",
    "BarFlag",
    "BarStream",
    "Credentials",
    "FeedLostError",
    "Health",
    "Instrument",
    "Latency",
    "LogDamagedError",
    "Playback",
    "Replay",
    "Secret",
    "Session",
    "Settings",
    "Sink",
    "Source",
    "Statistics",
    "Summary",
    "TickloomError",
    "Ticks",
    "UsageError",
    "UserAccount",
    "UserOrder",
    "UserPosition",
    "UserTrade",
    "load_settings",
    "recorded_account_events",
    "replay",
]


def __getattr__(name: str) -> Any:
    """Import what `name` stands for."""
    if name not in _WHERE:
        raise AttributeError(f"module 'tickloom' has no attribute {name!r}")
    value = getattr(import_module(f"tickloom.{_WHERE[name]}"), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is not imported yet as well."""
    return sorted({*globals(), *__all__})
