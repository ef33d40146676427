"""The committed facts are those of the package itself, wherever it is installed (it needs Python 3.12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tickloom.compat import RealtimeDataManager, names
from tickloom.scripts.emulator import Emulator

peer = pytest.importorskip("project_x_py.realtime_data_manager", reason="project-x-py is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_the_table_of_signatures_is_the_packages(
    peer_signatures: dict[str, str], signature_of: Callable[[type, str], str]
) -> None:
    theirs = peer.RealtimeDataManager
    public = [n for n in dir(theirs) if (n[0] != "_" or n == "__init__") and callable(getattr(theirs, n))]
    assert {name: signature_of(theirs, name) for name in public} == peer_signatures


def test_its_timeframes_are_those_of_the_table() -> None:
    manager = peer.RealtimeDataManager("MNQ", object(), object(), timeframes=list(names.TIMEFRAMES))
    assert {name: (each["interval"], each["unit"]) for name, each in manager.timeframes.items()} == names.TIMEFRAMES
    assert list(peer.RealtimeDataManager("MNQ", object(), object()).timeframes) == list(names.DEFAULT)


def test_history_by_its_own_client_gives_the_frame_it_holds_itself(gateway: tuple[Emulator, str]) -> None:
    from project_x_py import ProjectX
    from project_x_py.models import ProjectXConfig

    running, key = gateway

    async def main() -> tuple[Any, Any]:
        config = ProjectXConfig(
            api_url=f"{running.api_url}/api",
            market_hub_url=running.market_hub_url,
            user_hub_url=running.user_hub_url,
        )
        async with ProjectX(username="tester", api_key=key, config=config) as client:
            await client.authenticate()
            theirs = peer.RealtimeDataManager("MNQ", client, object(), timeframes=["1min"])
            ours = RealtimeDataManager("MNQ", client, object(), timeframes=["1min"])
            assert await theirs.initialize()
            assert await ours.initialize()
            assert ours.contract_id == theirs.contract_id
            frames = await theirs.get_data("1min"), await ours.get_data("1min")
            await theirs.cleanup()
            return frames

    theirs, ours = asyncio.run(main())
    assert ours.schema == theirs.schema
    rows = ours.rows()[:-2]  # a minute may have passed between the two
    assert len(rows) > 100
    assert set(rows) <= set(theirs.rows())
