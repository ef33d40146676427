"""What callbacks are told, and that a callback's trouble is its own."""

from __future__ import annotations

import asyncio
import enum
import logging
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tickloom.compat.events import SEEN, Callbacks, CompatEvent, Teller
from tickloom.messages.bars import Bar, BarFlag
from tickloom.messages.market import NS, Instrument
from tickloom.supervision import BreakerSpec

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
ZONE = ZoneInfo("America/Chicago")
START = int(NOW.timestamp()) * NS


def bar(second: int, volume: int, *, final: bool = False, flags: int = 0, timeframe: str = "1s") -> Bar:
    at = START + second * NS
    return Bar("MNQ", timeframe, at, at + NS, 400, 408, 392, 404, volume, 2, 0, 0, 0, 0, flags, final)


def teller(**newest: int) -> Teller:
    return Teller({"1s": "1sec", "1m": "1min"}, "1s", Instrument("MNQ", 1, 4), ZONE, dict(newest))


def kinds(events: list[CompatEvent]) -> list[str]:
    return [event.type for event in events]


def test_a_bar_that_begins_is_a_new_bar_once() -> None:
    tell = teller(**{"1s": START - NS})
    first = tell.tell(bar(0, 5), NOW)
    assert kinds(first) == ["new_bar", "data_update"]
    assert first[0]["timeframe"] == "1sec"
    assert first[0]["bar_time"] == first[0]["data"]["timestamp"] == NOW
    assert first[0]["data"]["close"] == 101.0
    assert kinds(tell.tell(bar(0, 7), NOW)) == ["data_update"]


def test_the_first_bar_ever_is_no_event_as_over_there() -> None:
    assert kinds(teller().tell(bar(0, 5), NOW)) == ["data_update"]


def test_updates_say_the_volume_that_is_new_and_add_up_to_the_bar() -> None:
    tell = teller()
    messages = [bar(0, 5), bar(0, 5), bar(0, 9), bar(1, 1), bar(0, 12, final=True), bar(1, 4)]
    told = [event for each in messages for event in tell.tell(each, NOW) if event.type == "data_update"]
    assert [event["volume"] for event in told] == [5, 4, 1, 3, 3]
    assert sum(event["volume"] for event in told) == 12 + 4


def test_a_closed_bar_says_what_is_known_of_it() -> None:
    flags = BarFlag.GAP | BarFlag.REVISED
    (event,) = (e for e in teller().tell(bar(0, 5, final=True, flags=flags), NOW) if e.type == "bar_closed")
    assert (event["flags"], event["revision"], event["trades"]) == ("gap|revised", 0, 2)


def test_other_timeframes_than_the_finest_tell_no_trades_and_unknown_ones_nothing() -> None:
    tell = teller(**{"1m": START - NS})
    assert kinds(tell.tell(bar(0, 5, timeframe="1m"), NOW)) == ["new_bar"]
    assert tell.tell(bar(0, 5, timeframe="5m"), NOW) == []


def test_an_empty_bar_is_a_new_bar_and_no_trade() -> None:
    tell = teller(**{"1s": START - NS})
    assert kinds(tell.tell(bar(0, 0, final=True, flags=BarFlag.EMPTY), NOW)) == ["new_bar", "bar_closed"]


def test_what_is_remembered_of_volumes_is_bounded() -> None:
    tell = teller()
    for second in range(10 * SEEN):
        tell.tell(bar(second, 1), NOW)
    assert len(tell.volume) == SEEN


def test_a_payload_is_read_as_documented_and_as_the_bus_passes_it() -> None:
    event = CompatEvent("new_bar", {"timeframe": "1sec", "data": {"close": 1.0}})
    assert event["timeframe"] == event.data["timeframe"] == "1sec"
    assert event["data"] == event.data["data"] == {"close": 1.0}
    assert (event.type, event.source) == ("new_bar", "RealtimeDataManager")


@pytest.mark.parametrize(
    ("name", "words"), [("quote_update", "never come"), ("trade_tick", "never"), ("nonsense", "unknown")]
)
def test_an_event_that_would_never_come_is_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Callbacks().add(name, print)


def update(number: int) -> CompatEvent:
    return CompatEvent("data_update", {"volume": number})


def test_functions_and_coroutine_functions_are_called_in_order() -> None:
    seen: list[tuple[str, int]] = []

    async def slow(event: Any) -> None:
        await asyncio.sleep(0)
        seen.append(("slow", event["volume"]))

    callbacks = Callbacks()
    callbacks.add("data_update", slow)
    callbacks.add("data_update", lambda event: seen.append(("quick", event["volume"])))
    asyncio.run(callbacks.emit([update(1), update(2)]))
    assert seen == [("slow", 1), ("quick", 1), ("slow", 2), ("quick", 2)]


def test_a_callback_that_raises_is_counted_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    callbacks = Callbacks()

    def broken(event: Any) -> None:
        raise RuntimeError("no")

    callbacks.add("data_update", broken)
    callbacks.add("data_update", lambda event: seen.append(event["volume"]))
    with caplog.at_level(logging.ERROR, "tickloom.compat"):
        asyncio.run(callbacks.emit([update(1)]))
    assert seen == [1]
    assert callbacks.error_count == 1
    assert [(e["error_type"], e["message"]) for e in callbacks.errors] == [("RuntimeError", "no")]
    assert "broken failed on data_update" in caplog.text


def test_one_that_keeps_failing_is_left_alone_and_tried_again_later() -> None:
    now = 0
    calls: list[int] = []
    broken = True

    def callback(event: Any) -> None:
        calls.append(event["volume"])
        if broken:
            raise RuntimeError("no")

    spec = BreakerSpec(max_failures=3, window=60, reset_timeout=10, max_reset_timeout=40)
    callbacks = Callbacks(spec=spec, monotonic_ns=lambda: now)
    callbacks.add("data_update", callback)

    def emit(*numbers: int) -> None:
        asyncio.run(callbacks.emit([update(number) for number in numbers]))

    emit(1, 2, 3, 4, 5)
    assert (calls, callbacks.skipped, callbacks.open()) == ([1, 2, 3], 2, [callback.__qualname__])
    now = 10 * NS
    emit(6, 7)
    assert calls == [1, 2, 3, 6], "one probe, which failed: twice as long now"
    now = 29 * NS
    emit(8)
    assert calls[-1] == 6
    now, broken = 30 * NS, False
    emit(9, 10)
    assert (calls[-2:], callbacks.open()) == ([9, 10], [])


def test_errors_kept_are_bounded_and_the_count_is_not() -> None:
    callbacks = Callbacks(spec=BreakerSpec(max_failures=1000))
    callbacks.add("data_update", lambda event: 1 / 0)
    asyncio.run(callbacks.emit([update(number) for number in range(150)]))
    assert (callbacks.error_count, len(callbacks.errors)) == (150, 100)


class EventType(enum.Enum):
    """As the other library's bus has it, beside its class."""

    NEW_BAR = "new_bar"
    DATA_UPDATE = "data_update"


def test_a_bus_is_told_in_its_own_words_and_nothing_it_does_not_know() -> None:
    emitted: list[tuple[Any, Any, str]] = []

    class Bus:
        async def emit(self, event: Any, data: Any, source: str) -> None:
            emitted.append((event, data, source))

    import sys
    import types

    module = types.ModuleType("a_bus")
    module.EventType = EventType  # type: ignore[attr-defined]
    Bus.__module__ = "a_bus"
    sys.modules["a_bus"] = module
    try:
        callbacks = Callbacks(Bus())
        asyncio.run(callbacks.emit([update(1), CompatEvent("bar_closed", {})]))
    finally:
        del sys.modules["a_bus"]
    assert emitted == [(EventType.DATA_UPDATE, {"volume": 1}, "RealtimeDataManager")]
