"""A real browser, real sessions, and no console error left unread."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

import tickloom  # noqa: E402
from tickloom.actors.bars.history import History  # noqa: E402
from tickloom.actors.http.shell import HttpActor  # noqa: E402
from tickloom.actors.http.views import Views  # noqa: E402
from tickloom.actors.sinks.history import Window  # noqa: E402
from tickloom.messages.bars import Bar, BarFlag  # noqa: E402
from tickloom.messages.market import NS, Instrument  # noqa: E402
from tickloom.messages.reports import Health, Latency, Statistics  # noqa: E402
from tickloom.scripts.emulator import Emulator  # noqa: E402
from tickloom.supervision import ActorView, ChildSpec, SupervisorSpec, Tree  # noqa: E402

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.GCE.Z25")
PATIENCE_S = 20.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


class Page:
    """A window of the browser. What the console said is kept in `console` and must be empty in the end."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.tolerated: Sequence[str] = ()
        self.console: list[str] = []
        self.pictures = os.environ.get("TICKLOOM_SCREENSHOTS", "")

    def open(self, address: str) -> Page:
        self.driver.get(address)
        return self.until(lambda: self.root("connection") == "live")

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> Page:
        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: condition())
        return self

    def script(self, text: str, *arguments: object) -> Any:
        return self.driver.execute_script(text, *arguments)

    def root(self, name: str) -> str | None:
        return self.script("return document.documentElement.dataset[arguments[0]] ?? null", name)

    def chart(self, name: str) -> str:
        return str(self.script("return document.getElementById('chart').dataset[arguments[0]] ?? ''", name))

    def text(self, selector: str) -> str:
        return str(self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> bool:
        return bool(self.find(selector).is_displayed())

    def state(self, path: str) -> str:
        return str(self.script('return document.querySelector(`tr[data-path="${arguments[0]}"]`)?.dataset.state', path))

    def pixels(self) -> str:
        """Return what is drawn in the chart, as something to compare."""
        return str(
            self.script("return [...document.querySelectorAll('#canvas canvas')].map((c) => c.toDataURL()).join()")
        )

    def candles_move(self, times: int = 3) -> Page:
        """Wait until the newest bar has changed so often, and the drawing with it."""
        for _ in range(times):
            before, drawn = (self.chart("close"), self.chart("volume"), self.chart("time")), self.pixels()
            self.until(lambda b=before: (self.chart("close"), self.chart("volume"), self.chart("time")) != b)  # type: ignore[misc]
            self.until(lambda d=drawn: self.pixels() != d)  # type: ignore[misc]
        return self

    def press(self, keys: str) -> Page:
        self.driver.switch_to.active_element.send_keys(keys)
        return self

    def picture(self, name: str) -> None:
        """Keep a screenshot for the documents, if they are wanted."""
        if self.pictures:
            Path(self.pictures).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(self.pictures) / f"{name}.png"))

    def listen(self) -> list[str]:
        """Return what the console said that was not tolerated."""
        self.console += [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]
        return [line for line in self.console if not any(word in line for word in self.tolerated)]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open windows: `window(dark=…, phone=…, size=…)`. Afterwards the console must not have said a word."""
    pages: list[Page] = []

    def make(*, dark: bool = False, phone: bool = False, size: tuple[int, int] = (1440, 900)) -> Page:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={tmp_path / f'browser-{len(pages)}'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        pages.append(Page(driver))
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        width, height = (390, 844) if phone else size
        screen = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        return pages[-1]

    yield make
    said = [page.listen() for page in pages]
    for page in pages:
        page.driver.quit()
    assert said == [[] for _ in pages]


@pytest.fixture(scope="session")
def gateway() -> Iterator[tuple[Emulator, str]]:
    """One emulator in a process of its own, and the key of its account."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=300, user="tester", key=key, options=["--no-rate-limits"]) as running:
        yield running, key


@pytest.fixture
def begin(gateway: tuple[Emulator, str]) -> Iterator[Callable[..., tickloom.Session]]:
    """Start sessions on the emulator with the dashboard on: `begin(faults=…, key=…, http__port=…)`."""
    running, account_key = gateway
    made: list[tickloom.Session] = []

    def start(**extra: Any) -> tickloom.Session:
        faults, key = extra.pop("faults", None), extra.pop("key", None)
        settings = {
            "gateway.api_url": running.api_url,
            "gateway.market_hub_url": running.market_hub_url,
            "gateway.user_hub_url": running.user_hub_url,
            "session.contracts": CONTRACTS,
            "session.timeframes": "1s,5s,1m",
            "http.enabled": True,
            "http.port": 0,
            **{name.replace("__", "."): value for name, value in extra.items()},
        }
        credentials = tickloom.Credentials("tester", tickloom.Secret(account_key), "the test")
        session = tickloom.Session(settings, credentials=credentials, faults=faults, dashboard_key=key)
        made.append(session)
        session.start()
        return session

    yield start
    for session in made:
        if session.summary is None and session.started:
            session.stop()


class Fed:
    """A source that is fed by hand: prints of one contract, each with its stamp."""

    instruments = (Instrument("OIL", 1, 100, name="made up", calendar="24/7"),)

    def __init__(self) -> None:
        self._ready = threading.Event()

    async def ticks(self) -> AsyncIterator[tickloom.Ticks]:
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[tickloom.Ticks]()
        self._ready.set()
        while True:
            yield await self._queue.get()

    def give(self, stamps: Sequence[int], price: float) -> None:
        """Prints of size 1, each 0.01 above the one before."""
        assert self._ready.wait(PATIENCE_S)
        prices = [price + at / 100 for at in range(len(stamps))]
        ticks = tickloom.Ticks("OIL", list(stamps), prices, [1] * len(stamps))
        self._loop.call_soon_threadsafe(self._queue.put_nowait, ticks)


@pytest.fixture
def counted() -> Iterator[tuple[tickloom.Session, Fed]]:
    """A session that makes bars of three prints, and what feeds it."""
    fed = Fed()
    settings = {"session.timeframes": "3t", "http.enabled": True, "http.port": 0}
    with tickloom.Session(settings, source=fed) as session:
        yield session, fed


@pytest.fixture
def flagged() -> Iterator[str]:
    """The address of a page over made-up bars with every flag there is, rejects, and a degraded health."""
    token = secrets.token_urlsafe(16)
    views = _flagged_views()

    def http(context: Any) -> HttpActor:
        return HttpActor(context, views, port=0, token=tickloom.Secret(token), key=tickloom.Secret("key"))

    tree = Tree(SupervisorSpec((ChildSpec("http", http),)), name="flagged")
    tree.start()
    yield f"http://127.0.0.1:{tree.recall('/http').port}/?token={token}"
    assert tree.stop("now").clean


def _flagged_views() -> Views:
    rng, price, bars = Random(4), 97_880, []
    marks = {0: BarFlag.PARTIAL, 90: BarFlag.REVISED, 112: BarFlag.EMPTY, 113: BarFlag.EMPTY}
    marks |= {80: BarFlag.GAP, 81: BarFlag.GAP} | dict.fromkeys((82, 83, 84), BarFlag.GAP | BarFlag.HEALED)
    marks |= dict.fromkeys(range(100, 105), BarFlag.CONFLATED)
    start = 1_763_829_000 * NS
    for i in range(120):
        flags = marks.get(i, BarFlag.NONE)
        opened = price
        price += 0 if flags & BarFlag.EMPTY else rng.randint(-9, 9)
        spread = 0 if flags & BarFlag.EMPTY else rng.randint(0, 5)
        high, low = max(opened, price) + spread, min(opened, price) - spread
        volume = 0 if flags & BarFlag.EMPTY else rng.randint(20, 300)
        at = start + i * NS
        bars.append(
            Bar("MNQ", "1s", at, at + NS, opened, high, low, price, volume, 9, price * volume, volume, 0,
                flags=int(flags), final=i < 119)
        )  # fmt: skip
    window = Window(History(5000, 1 << 26).settle(bars[:100]).show(bars[100:119]), {bars[-1].open_time: bars[-1]})
    health = Health(
        "degraded",
        ("MNQ arrives 3.1 s late", "the token expires in 250 s"),
        since_ns=start,
        links={"market": "up"},
        staleness={"MNQ": 0.2},
        feed_delay_ms={"MNQ": 3100.0},
        token_seconds=250.0,
    )
    rejected = {"off_grid": 12, "jump": 4, "duplicate": 301, "<b>not bold</b>": 1}
    statistics = Statistics(3600.0, 1_234_567, 1830.0, rejected, {}, Latency(1000, 0.6, 0.9, 2.1, 5.0, 11.0))
    tree = ActorView("/", "supervisor", "running", 1, 0, None, None, None, alive=True)
    return Views(
        session="flagged",
        version="0.0.0",
        started_ns=start,
        timeframes=lambda: ("1s", "1m"),
        instruments=lambda: {"MNQ": Instrument("MNQ", 1, 4, "F.US.MNQ", "MNQZ5", "Micro E-mini Nasdaq-100")},
        window=lambda contract, timeframe: window if timeframe == "1s" else None,
        health=lambda: health,
        statistics=lambda: statistics,
        tree=lambda: tree,
        events=list,
    )
