"""The live view shows prices with the tick's decimals, and fits a terminal of 80 columns."""

from __future__ import annotations

import io

from rich.console import Console

from tickloom.messages.bars import Bar
from tickloom.messages.market import NS, Instrument
from tickloom.messages.reports import Health, Statistics
from tickloom.scripts.view import price, screen, spark

ES = Instrument("CON.F.US.EP.Z25", 1, 4)
ZB = Instrument("CON.F.US.USA.Z25", 1, 32)
CL = Instrument("CON.F.US.CLE.F26", 1, 100)


def test_prices_have_the_decimals_of_their_tick() -> None:
    assert price(ES, 8401) == "2,100.25"
    assert price(CL, 5999) == "59.99"
    assert price(ZB, 3841) == "120.03125"


def test_a_sparkline_rises_with_its_values_and_is_bounded() -> None:
    assert spark([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert spark([5.0]) == "▁"
    assert spark([]) == ""
    assert len(spark(list(range(1000)), width=10)) == 10


def test_the_view_shows_the_open_bar_and_the_health_within_80_columns() -> None:
    bar = Bar(
        ES.contract, "1m", 1_763_990_000 * NS, 1_763_990_060 * NS, 8400, 8410, 8396, 8401, 123_456, 56_789, 1, 1, 1
    )
    health = Health("degraded", ("market hub is down: reset by peer",))
    out = Console(file=io.StringIO(), width=80)
    out.print(
        screen(
            "demo",
            ES,
            ["1s", "1m"],
            {"1m": bar},
            {"1m": [float(n % 7) for n in range(40)]},
            Statistics(ticks=56),
            health,
            1,
        )
    )
    assert isinstance(out.file, io.StringIO)
    text = out.file.getvalue()
    assert "…" not in text, "no price is cut off"
    assert "2,102.50" in text
    assert "2,100.25" in text
    assert "degraded: market hub is down" in text
    assert "restarts 1" in text
