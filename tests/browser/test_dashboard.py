"""The dashboard in a real browser: what it shows is what is going on, and it stays there when things go wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import tickloom
from tickloom.supervision.testing import FaultPlan

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BARS_1S = "/pipeline/bars/1s"
BARS_5S = "/pipeline/bars/5s"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`tickloom demo` as a person starts it; the address it prints."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "tickloom.scripts.cli", "demo", "--seconds", "280", "--dir", str(folder / "demo")]
    with subprocess.Popen([*command, "--dashboard", "0"], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        yield next(line for line in lines if line.startswith("dashboard at ")).split()[-1]
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_candles_move_during_the_demo(demo: str, window: Callable[..., Any]) -> None:
    page = window().open(demo)
    assert "token" not in page.driver.current_url, "the address is clean"
    page.candles_move()
    page.until(lambda: page.text("#status-word") == "healthy")
    before = page.text("#fig-ticks")
    page.until(lambda: page.text("#fig-ticks") != before)
    assert page.state("/feed/market") == "running"
    assert "h" in page.text("#fig-token"), "the token's time left is shown"
    assert page.text("#feed").count("ms") == 4
    page.until(lambda: int(page.chart("bars")) > 70, 120)
    page.picture("dashboard-light")


def test_in_the_dark_and_on_a_phone_it_is_all_there(demo: str, window: Callable[..., Any]) -> None:
    for name, look in (("dark", {"dark": True}), ("phone", {"phone": True})):
        page = window(**look).open(demo).candles_move(1)
        page.until(lambda page=page: page.text("#status-word") == "healthy" and page.text("#fig-rate") != "–")
        page.until(lambda page=page: int(page.chart("bars")) > 40, 60)
        wide, seen = page.script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen, "nothing sticks out sideways"
        background = page.script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 120) is (name == "dark")
        page.picture(f"dashboard-{name}")


def test_contract_and_timeframe_are_chosen_with_the_mouse_and_remembered(demo: str, window: Callable[..., Any]) -> None:
    page = window().open(demo).candles_move(1)
    Select(page.find("#contract")).select_by_visible_text("GCZ5")
    page.script("document.querySelector('#timeframes input[value=\"5s\"]').click()")
    page.until(lambda: page.text("#contract-about").startswith("Gold"))
    page.candles_move(1)
    assert 0 < float(page.chart("close")) < 10_000, "gold, not the Nasdaq"
    page.driver.refresh()
    page.until(lambda: page.text("#contract-about").startswith("Gold"))
    assert page.script("return document.querySelector('#timeframes input:checked').value") == "5s"


def test_everything_can_be_done_with_the_keyboard(demo: str, window: Callable[..., Any]) -> None:
    page = window().open(demo).candles_move(1)
    checked = "return document.querySelector('#timeframes input:checked').value"
    assert page.script(checked) == "1s"
    page.press("]").until(lambda: page.script(checked) == "5s")
    page.press("[").until(lambda: page.script(checked) == "1s")
    page.press(".").until(lambda: page.script("return document.getElementById('contract').value") == "CON.F.US.EP.Z25")
    page.press("?").until(lambda: page.shown("#help"))
    page.press(Keys.ESCAPE).until(lambda: not page.shown("#help"))
    page.press("t").until(lambda: page.root("theme") == "light")
    page.press("t").until(lambda: page.root("theme") == "dark")
    names, focus = (
        [],
        "return document.activeElement.id || document.activeElement.name || document.activeElement.className",
    )
    for _ in range(14):
        page.press(Keys.TAB)
        names.append(page.script(focus))
        ring = page.script(
            "const own = getComputedStyle(document.activeElement);"
            "const next = document.activeElement.nextElementSibling;"
            "return own.outlineStyle !== 'none' || (next !== null && getComputedStyle(next).outlineStyle !== 'none')"
        )
        assert ring, f"the focus is seen on {names[-1]}"
    assert {"help-open", "theme", "contract", "timeframe", "chart"} <= set(names)
    page.find(f'tr[data-path="{BARS_5S}"] button').send_keys(Keys.ENTER)
    page.until(lambda: page.shown("#detail") and page.text("#detail-title") == BARS_5S)
    page.press(Keys.ESCAPE).until(lambda: not page.shown("#detail"))
    assert page.script("return document.activeElement.closest('tr').dataset.path") == BARS_5S, "the focus comes back"


def test_the_tree_is_sorted_by_any_column(demo: str, window: Callable[..., Any]) -> None:
    page = window().open(demo)
    page.until(lambda: page.state(BARS_1S) == "running")
    rows = "return [...document.querySelectorAll('#actors tbody tr')].map((row) => row.dataset.path)"
    as_tree = page.script(rows)
    assert as_tree.index("/pipeline/bars") < as_tree.index(BARS_1S)
    page.find('th[data-column="path"] button').click()
    paths = page.script(rows)
    assert paths == sorted(paths)
    page.find('th[data-column="path"] button').click()
    paths = page.script(rows)
    assert paths == sorted(paths, reverse=True)
    page.find('th[data-column="rate"] button').click()
    assert page.find('th[data-column="rate"]').get_attribute("aria-sort") == "descending"
    page.find('th[data-column="rate"] button').click()
    page.find('th[data-column="rate"] button').click()
    assert page.script(rows) == as_tree, "the third time it stands as a tree again"


def test_a_crashed_actor_turns_and_recovers_on_the_page(begin: Callable[..., Any], window: Callable[..., Any]) -> None:
    faults = FaultPlan()
    session = begin(faults=faults, supervision__reset_timeout_s=3)
    page = window(dark=True, size=(1440, 1270)).open(session.dashboard)
    page.until(lambda: page.state(BARS_5S) == "running" and int(page.chart("bars")) > (50 if page.pictures else 5), 90)
    page.find(f'tr[data-path="{BARS_5S}"] button').click()
    faults.crash_randomly(Random(0), 1.0, lambda path: path == BARS_5S)
    page.until(lambda: page.state(BARS_5S) == "breaker open")
    page.until(lambda: page.text("#status-word") == "unhealthy")
    page.until(lambda: "InjectedCrash" in page.text("#detail pre"))
    page.until(lambda: "breaker closed → open" in page.text("#events"))
    assert page.state(BARS_1S) == "running"
    page.picture("dashboard-crash")
    page.candles_move(1)
    faults.calm()
    page.until(lambda: page.state(BARS_5S) == "running", 30)
    page.until(lambda: "up again" in page.text("#events"))
    page.until(lambda: page.text("#status-word") == "healthy", 40)
    assert int(page.text("#fig-restarts")) > 0


def test_the_page_survives_a_crash_of_its_own_server(begin: Callable[..., Any], window: Callable[..., Any]) -> None:
    faults = FaultPlan()
    session = begin(faults=faults)
    page = window().open(session.dashboard).candles_move(1)
    page.tolerated = ("net::ERR_", "503")
    faults.crash("/observers/http", "on_control")
    session._running().tree.ref("/observers/http").tell("anything")
    page.until(lambda: page.text('tr[data-path="/observers/http"] td:nth-child(8)') == "1")
    page.until(lambda: page.root("connection") == "live").candles_move(1)


def test_the_page_survives_a_restart_of_the_session(begin: Callable[..., Any], window: Callable[..., Any]) -> None:
    key = tickloom.Secret("kept by the command line")
    first = begin(key=key)
    page = window().open(first.dashboard).candles_move(1)
    port, before = int(first.dashboard.split(":")[2].split("/")[0]), page.root("session")
    first.stop()
    page.tolerated = ("net::ERR_",)
    page.until(lambda: page.root("connection") == "lost")
    assert "Trying again" in page.text("#banner")
    assert page.shown("#banner")
    begin(key=key, http__port=port)
    page.until(lambda: page.root("connection") == "live")
    assert not page.shown("#banner")
    page.until(lambda: page.root("session") not in (None, before))
    page.candles_move()


def test_a_session_that_does_not_know_the_page_says_so_until_it_is_shown_the_address(
    begin: Callable[..., Any], window: Callable[..., Any]
) -> None:
    first = begin()
    page = window().open(first.dashboard)
    port = int(first.dashboard.split(":")[2].split("/")[0])
    first.stop()
    page.tolerated = ("net::ERR_", "401")
    second = begin(http__port=port)
    page.until(lambda: page.root("connection") == "locked")
    assert "Open the address" in page.text("#banner")
    page.driver.switch_to.new_window("tab")
    page.driver.get(f"http://127.0.0.1:{port}/")
    assert "locked" in page.driver.title
    page.driver.get(second.dashboard)
    page.driver.close()
    page.driver.switch_to.window(page.driver.window_handles[0])
    page.until(lambda: page.root("connection") == "live").candles_move(1)


def test_thousands_of_ticks_a_second_are_a_few_redraws(begin: Callable[..., Any], window: Callable[..., Any]) -> None:
    session = begin()
    page = window().open(session.dashboard).candles_move(1)
    page.script(
        "window.draws = 0;"
        "new MutationObserver(() => { window.draws += 1; }).observe(document.getElementById('chart'),"
        " { attributes: true, attributeFilter: ['data-volume'] }); window.began = performance.now();"
    )
    ticks = session.statistics().ticks
    page.until(lambda: session.statistics().ticks > ticks + 900, 30)
    draws, milliseconds = page.script("return [window.draws, performance.now() - window.began]")
    assert draws > 0
    assert draws / milliseconds * 1000 <= 5, "four looks a second"


def test_bars_that_need_a_word_are_marked(flagged: str, window: Callable[..., Any]) -> None:
    page = window().open(flagged)
    page.until(lambda: page.chart("bars") == "120")
    legend = page.text("#legend")
    for words in ("gap 2", "healed 3", "partial 1", "revised 1", "conflated 5", "empty 2"):
        assert words in legend, legend
    page.find("#bars-table summary").click()
    remarks = page.script(
        "return [...document.querySelectorAll('#bars-table td:last-child')].map((c) => c.textContent)"
    )
    assert {"open", "gap", "gap, healed", "revised", "conflated", "empty"} <= set(remarks)
    assert page.text("#rejects-total").startswith("318")
    assert "<b>not bold</b>" in page.text("#rejects"), "what comes from outside is text"
    page.picture("dashboard-flags")


def test_every_bar_by_activity_is_a_candle_of_its_own(counted: Any, window: Callable[..., Any]) -> None:
    session, fed = counted
    now = time.time_ns()
    page = window().open(session.dashboard)
    page.find("#bars-table summary").click()
    closes = "return [...document.querySelectorAll('#bars-table tbody tr td:nth-child(5)')].map((c) => c.textContent)"
    fed.give([now] * 7, 70.0)
    page.until(lambda: page.script(closes) == ["70.06", "70.05", "70.02"])
    drawn = page.pixels()
    fed.give([now] * 3, 71.0)
    page.until(lambda: page.script(closes) == ["71.02", "71.01", "70.05", "70.02"])
    fed.give([now - 2_000_000_000], 72.0)
    page.until(lambda: page.script(closes) == ["72.00", "71.01", "70.05", "70.02"])
    fed.give([now], 73.0)
    page.until(lambda: page.script(closes) == ["73.00", "71.01", "70.05", "70.02"])
    fed.give([now - 1_000_000_000], 74.0)
    page.until(lambda: page.script(closes) == ["74.00", "73.00", "71.01", "70.05", "70.02"])
    page.until(lambda: page.pixels() != drawn)
    assert page.chart("bars") == "5"
    page.driver.refresh()
    page.until(lambda: page.chart("bars") == "5")
    page.find("#bars-table summary").click()
    page.until(lambda: page.script(closes) == ["74.00", "73.00", "71.01", "70.05", "70.02"])


def test_every_control_has_a_name_and_text_has_contrast(flagged: str, window: Callable[..., Any]) -> None:
    for dark in (False, True):
        page = window(dark=dark).open(flagged)
        page.until(lambda page=page: page.text("#fig-ticks") != "–")
        nameless = page.script(
            "return [...document.querySelectorAll('button, input, select, a, [tabindex]')].filter((node) =>"
            " !(node.textContent.trim() || node.getAttribute('aria-label') || node.getAttribute('aria-labelledby')"
            " || node.closest('label')?.textContent.trim())).map((node) => node.outerHTML)"
        )
        assert nameless == []
        faint = page.script(Path(__file__).with_name("contrast.js").read_text())
        assert faint == []
