"""An emulator in a process of its own, a stand-in for the other library's client, and its signatures as facts."""

from __future__ import annotations

import inspect
import secrets
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tickloom.scripts.emulator import Emulator

FACTS = Path(__file__).with_name("project_x_signatures.toml")
CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25")


@pytest.fixture(scope="session")
def peer_signatures() -> dict[str, str]:
    """Method to signature, without types, as project-x-py 4.4.1 has them: `async (self, count=1, timeframe='5min')`."""
    facts: dict[str, str] = tomllib.loads(FACTS.read_text())["signatures"]
    return facts


@pytest.fixture(scope="session")
def signature_of() -> Callable[[type, str], str]:
    """Return a function that writes a class's method down as the facts do."""

    def signature(owner: type, name: str) -> str:
        method = getattr(owner, name)
        plain = inspect.signature(method)
        parameters = [each.replace(annotation=inspect.Parameter.empty) for each in plain.parameters.values()]
        text = str(plain.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
        return f"async {text}" if inspect.iscoroutinefunction(inspect.unwrap(method)) else text

    return signature


@pytest.fixture(scope="session")
def gateway() -> Iterator[tuple[Emulator, str]]:
    """One emulator for all, and the key of its account."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=400, user="tester", key=key, options=["--steady", "--no-rate-limits"]) as running:
        yield running, key


@pytest.fixture
def client(gateway: tuple[Emulator, str]) -> Any:
    """What a program hands over as `project_x`: user, key and addresses, and here no more."""
    running, key = gateway
    urls = {"api_url": running.api_url, "market_hub_url": running.market_hub_url, "user_hub_url": running.user_hub_url}
    return SimpleNamespace(username="tester", api_key=key, config=SimpleNamespace(**urls))
