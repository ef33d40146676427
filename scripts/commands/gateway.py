"""`tickloom gateway`: the emulator, for demo, tests and other people's clients."""

from __future__ import annotations

from typing import Final

import typer

from tickloom.scripts.gateway.__main__ import gateway

HELP: Final = """Serve an emulated ProjectX gateway: REST and both hubs, with a seeded market or a log's ticks.

When it listens it prints one line of JSON with its addresses. GATEWAY_USER and GATEWAY_KEY name the account (demo,
demo-key). Ctrl-C ends it.

A log is played from half a second after the first subscription to trades on (--no-hold: at once), each tick stamped
anew. Quotes and depth are made from its prints, as the model's are.

Examples:

```sh
tickloom gateway --port 8080 --rate 1000
tickloom gateway --contracts CON.F.US.EP.Z25 --token-ttl 60 --chaos faults.toml
tickloom gateway --from-log log --speed 10
```
"""


def register(app: typer.Typer) -> None:
    """Add the command; it is the one `python -m tickloom.scripts.gateway` runs."""
    app.command("gateway", help=HELP)(gateway)
