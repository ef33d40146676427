"""What a program calls today can be called here, with the same names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tickloom.compat import RealtimeDataManager

READ_SIDE = """__init__ add_callback cleanup get_bars_since get_current_price get_data get_data_or_none get_error_count
get_health_score get_latest_bars get_latest_price get_memory_stats get_memory_usage get_mtf_data get_ohlc
get_price_range get_realtime_validation_status get_recent_errors get_session_data get_stats get_status get_uptime
get_volume_stats initialize is_data_ready start_realtime_feed stop_realtime_feed""".split()  # noqa: SIM905 - a row of names

Sign = Callable[[type, str], str]


@pytest.mark.parametrize("name", READ_SIDE)
def test_a_method_of_the_read_side_has_the_other_librarys_signature(
    name: str, peer_signatures: dict[str, str], signature_of: Sign
) -> None:
    assert signature_of(RealtimeDataManager, name) == peer_signatures[name]


def test_no_method_of_ours_has_a_name_of_theirs_and_another_signature(
    peer_signatures: dict[str, str], signature_of: Sign
) -> None:
    ours = {name for name in dir(RealtimeDataManager) if callable(getattr(RealtimeDataManager, name))}
    shared = {name for name in ours & peer_signatures.keys() if not name.startswith("_")}
    assert shared == set(READ_SIDE) - {"__init__"}
    assert {name: signature_of(RealtimeDataManager, name) for name in shared} == {
        name: peer_signatures[name] for name in shared
    }


def make(**changes: Any) -> RealtimeDataManager:
    return RealtimeDataManager(**{"instrument": "MNQ", "project_x": None, "realtime_client": None, **changes})


def test_without_a_word_it_builds_five_minutes_as_over_there() -> None:
    manager = make()
    assert manager.timeframes == {"5min": {"interval": 5, "unit": 2, "name": "5min"}}
    assert (str(manager.timezone), manager.max_bars_per_timeframe) == ("America/Chicago", 1000)
    assert (manager.is_running, manager.contract_id) == (False, None)


def test_the_config_wins_over_the_arguments_as_over_there() -> None:
    manager = make(timezone="America/Chicago", config={"timezone": "Europe/Berlin", "max_bars_per_timeframe": 7})
    assert (str(manager.timezone), manager.max_bars_per_timeframe) == ("Europe/Berlin", 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instrument": ""}, "instrument is empty"),
        ({"timeframes": []}, "empty list"),
        ({"timeframes": ["7min"]}, "'7min' is none of 1sec"),
        ({"session_config": object()}, "filter the frames"),
    ],
)
def test_what_cannot_be_done_is_a_value_error_that_says_so(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**changes)
