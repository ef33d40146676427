"""Tickloom weaves a live futures tick stream into exact OHLCV bars.

```python
import tickloom

async with tickloom.Session(config) as session:        # `with` works as well, no event loop needed
    async for bar in session.bars("CON.F.US.MNQ.Z25", "1m"):
        ...

result = tickloom.replay("log/", timeframes=["1s", "1m"])
```

Importing it starts nothing and changes nothing of the process.
"""

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
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Health, Latency, Statistics
from tickloom.replaying import Replay, replay
from tickloom.session import Session
from tickloom.streams import BarStream
from tickloom.summary import Summary

__all__ = [
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
    "Replay",
    "Secret",
    "Session",
    "Settings",
    "Statistics",
    "Summary",
    "TickloomError",
    "UsageError",
    "load_settings",
    "replay",
]
