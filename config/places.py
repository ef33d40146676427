"""Where a user's configuration lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def config_home(env: Mapping[str, str]) -> Path:
    """Return the folder of Tickloom's own files: `$XDG_CONFIG_HOME/tickloom`, else `~/.config/tickloom`.

    Where no home is known (a container's nameless user) the `~` stays, and nothing is found there.
    """
    base = Path(env.get("XDG_CONFIG_HOME") or "~/.config")
    try:
        return base.expanduser() / "tickloom"
    except RuntimeError:
        return base / "tickloom"
