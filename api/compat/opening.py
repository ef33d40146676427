"""What a manager finds out before it starts: which contract a symbol stands for, and the bars there were before.

Both come from the client the program hands over, where that client can (`get_instrument`, `get_bars`), and from the
gateway by our own REST client otherwise. A client's user name and key are wrapped as soon as they are read.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import polars as pl

from tickloom.actors.connection.address import open_session
from tickloom.actors.connection.rest import RestClient
from tickloom.compat import frames
from tickloom.compat.names import TIMEFRAMES
from tickloom.config.credentials import Credentials, load_credentials
from tickloom.config.secrets import Secret
from tickloom.config.settings import Settings
from tickloom.config.sources import load
from tickloom.errors import UsageError
from tickloom.messages.market import NS
from tickloom.messages.projectx import BarUnit, ContractModel
from tickloom.preflight import FIRST_PATIENCE

DAY_NS: Final = 86_400 * NS
_MONTHS: Final = "FGHJKMNQUVXZ"


def settings_of(client: Any, given: Any) -> Settings:
    """Return `given` where it is settings, else the usual ones, with the addresses of `client` where it has any."""
    if isinstance(given, Settings):
        return given
    config = getattr(client, "config", None)
    found = {name: getattr(config, name, None) for name in ("api_url", "market_hub_url", "user_hub_url")}
    known = {f"gateway.{name}": value for name, value in found.items() if isinstance(value, str) and value}
    return load(overrides=known).settings


def credentials_of(client: Any) -> Credentials:
    """Return those of `client` where it has them, else those of the usual sources.

    Raises:
        CredentialsError: there are none.
    """
    username, key = getattr(client, "username", None), getattr(client, "api_key", None)
    if isinstance(username, str) and isinstance(key, str) and username and key:
        return Credentials(username, Secret(key), "the project_x client")
    return load_credentials()


class Market:
    """The gateway's endpoints for one manager, logged in."""

    def __init__(self, rest: RestClient, token: Secret, *, live: bool) -> None:
        self._rest = rest
        self._token = token
        self._live = live

    async def contract(self, symbol: str) -> str:
        """Return the contract id a symbol stands for: the id itself, a name (`MNQZ5`), or a product (`MNQ`, `ES`).

        Raises:
            UsageError: nothing fits; the sentence names what comes near.
        """
        if symbol.startswith("CON."):
            return (await self._rest.contract(self._token, symbol)).id
        found = await self._rest.search_contracts(self._token, symbol, live=self._live)
        chosen = choose(symbol, found)
        if chosen is None:
            near = ", ".join(f"{each.name} ({each.id})" for each in found[:5]) or "nothing like it"
            raise UsageError(f"instrument {symbol!r} is unknown to the gateway, which has {near}: use a contract's id")
        return chosen.id

    async def bars(self, contract: str, timeframe: str, days: int, zone: str) -> pl.DataFrame:
        """Return the bars of the last `days` days, oldest first, the one that is not finished included."""
        interval, unit = TIMEFRAMES[timeframe]
        now = time.time_ns()
        found = await self._rest.retrieve_bars(
            self._token, contract, now - days * DAY_NS, now,
            unit=BarUnit(unit), number=interval, live=self._live, partial=True,
        )  # fmt: skip
        return frames.from_history(found, zone)


@asynccontextmanager
async def market(settings: Settings, credentials: Credentials) -> AsyncIterator[Market]:
    """Log in for the length of a block.

    Raises:
        CredentialsRefused, GatewayUnreachable: the gateway says no, or nothing.
    """
    gateway = settings.gateway
    async with open_session(gateway.ca_file or None) as http:
        rest = RestClient(gateway.api_url, http, patience=FIRST_PATIENCE)
        yield Market(rest, await rest.login(credentials.username, credentials.api_key), live=gateway.live)


def choose(symbol: str, contracts: Sequence[ContractModel]) -> ContractModel | None:
    """Return the contract that `symbol` stands for: that of this name, else of this product, the active one first."""
    wanted = symbol.strip().upper()
    of_product = re.compile(rf"{re.escape(wanted)}[{_MONTHS}]\d{{1,2}}")
    fitting = [
        each
        for each in contracts
        if each.name.upper() == wanted
        or of_product.fullmatch(each.name.upper())
        or each.symbol_id.upper().rpartition(".")[2] == wanted
    ]
    return min(fitting, key=lambda each: (each.name.upper() != wanted, not each.active_contract), default=None)
