"""What the tests of the http actor share: a client that sends any header it likes, made-up views, and real sessions."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import tickloom
from tickloom.actors.http.shell import HttpActor
from tickloom.actors.http.views import Views
from tickloom.actors.sinks.history import HistoryFold, HistoryState
from tickloom.messages.bars import Bar, BarFlag, Bars
from tickloom.messages.market import Instrument
from tickloom.messages.reports import Health, Statistics
from tickloom.scripts.emulator import Emulator
from tickloom.supervision import ActorView, Backoff, ChildSpec, Event, SupervisorSpec, Tree
from tickloom.supervision.testing import FaultPlan, ManualClock

CONTRACTS = ("CON.F.US.MNQ.Z25", "CON.F.US.GCE.Z25")
MNQ = Instrument("MNQ", 1, 4, "F.US.MNQ", "MNQZ5", "Micro E-mini Nasdaq-100", 0.5)
SECOND = 1_000_000_000
TIMEOUT = 10.0


@dataclass
class Answer:
    """What came back: status, headers (lower case), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests to one port, with the token unless told otherwise, and with no header but those it is told."""

    port: int
    token: str = ""
    cookie: str = ""

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send a request; `Host="…"` and the like set headers, underscores standing for dashes."""
        connection = self.send(path, method, **headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def send(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        sent = {"Host": f"127.0.0.1:{self.port}"}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if self.cookie:
            sent["Cookie"] = self.cookie
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    def without_pass(self) -> Client:
        return replace(self, token="", cookie="")

    def stream(self, query: str = "") -> Stream:
        return Stream(self.send(f"/api/stream?{query}"))


class Stream:
    """Reads the events of a stream one by one."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.socket = connection.sock
        self.response = connection.getresponse()
        self.status = self.response.status

    def next(self) -> tuple[str, Any]:
        """Return the next event and its data.

        Raises:
            EOFError: the stream has ended.
        """
        event, data = "", ""
        while True:
            line = self.response.readline().decode()
            if not line:
                raise EOFError
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data = value
            elif not name:
                return event, json.loads(data)

    def until(self, wanted: str, condition: Callable[[Any], bool] = lambda data: True) -> Any:
        """Return the data of the next event of that name for which the condition holds."""
        while True:
            event, data = self.next()
            if event == wanted and condition(data):
                return data

    def rest(self) -> None:
        """Read to the end.

        Raises:
            EOFError, ConnectionError: that was it.
        """
        while True:
            self.next()

    def hang_up(self) -> None:
        """End the connection; a thread that reads it sees the end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and let go of everything. For the thread that reads."""
        self.hang_up()
        self.response.close()
        self.socket.close()


def bar(at: int, close: int = 100, *, final: bool = True, flags: BarFlag = BarFlag.NONE, volume: int = 10) -> Bar:
    """A one-second bar of MNQ that opens at second `at`."""
    low, high = min(close, 99), max(close, 101)
    return Bar(
        "MNQ", "1s", at * SECOND, (at + 1) * SECOND, 100, high, low, close, volume, 4, close * volume, volume, 0,
        flags=int(flags), final=final,
    )  # fmt: skip


@dataclass
class World:
    """Made-up views whose values a test sets, with bars that a real history keeps."""

    health: Health = field(default_factory=lambda: Health("healthy", links={"market": "up"}))
    statistics: Statistics = field(default_factory=Statistics)
    tree: Callable[[], ActorView] = field(
        default=lambda: ActorView("/", "supervisor", "running", 1, 0, None, None, None)
    )
    events: list[Event] = field(default_factory=list)
    instruments: dict[str, Instrument] = field(default_factory=lambda: {"MNQ": MNQ})
    history: HistoryState = field(default_factory=HistoryState)
    fold: HistoryFold = field(default_factory=lambda: HistoryFold(10_000, 1 << 26))

    def say(self, **what: list[Bar]) -> None:
        """Let the history hear a `Bars`: `updated=`, `closed=`, `revised=`, `settled=`."""
        bars = Bars("1s", 0, **{name: tuple(each) for name, each in what.items()})
        self.history, _ = self.fold.step(self.history, [MNQ, bars])

    def views(self, session: str = "made up") -> Views:
        return Views(
            session=session,
            version="1.2.3",
            started_ns=SECOND,
            timeframes=lambda: ("1s", "1m"),
            instruments=lambda: self.instruments,
            window=lambda contract, timeframe: self.history.windows.get((contract, timeframe)),
            health=lambda: self.health,
            statistics=lambda: self.statistics,
            tree=lambda: self.tree(),
            events=lambda: list(self.events),
        )


@pytest.fixture
def world() -> World:
    """Views to be filled by hand."""
    return World()


@pytest.fixture(scope="session")
def make_bar() -> Callable[..., Bar]:
    """Make bars: `make_bar(second, close, final=…, flags=…)`."""
    return bar


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Client, Tree]]]:
    """Serve made-up views: `serve(world.views(), clock=…, faults=…)` returns a client and the tree."""
    trees: list[Tree] = []

    def start(
        views: Views, *, clock: ManualClock | None = None, faults: FaultPlan | None = None, port: int = 0
    ) -> tuple[Client, Tree]:
        token = secrets.token_urlsafe(24)

        def actor(context: Any) -> HttpActor:
            return HttpActor(context, views, port=port, token=tickloom.Secret(token), key=tickloom.Secret("a key"))

        spec = SupervisorSpec((ChildSpec("http", actor, backoff=Backoff(base=0.01, cap=0.05)),))
        tree = Tree(spec, name="page", clock=clock, faults=faults)
        trees.append(tree)
        tree.start()
        return Client(tree.recall("/http").port, token), tree

    yield start
    for tree in trees:
        report = tree.stop("now")
        assert report.clean, report


@pytest.fixture(scope="package")
def gateway() -> Iterator[tuple[Emulator, str]]:
    """One emulator in a process of its own, and the key of its account."""
    key = secrets.token_urlsafe(16)
    with Emulator(CONTRACTS, rate=400, user="tester", key=key, options=["--no-rate-limits"]) as running:
        yield running, key


def make_session(gateway: tuple[Emulator, str], **extra: Any) -> tickloom.Session:
    """A session on the emulator with the dashboard on; keyword arguments are settings, but for `faults` and `key`."""
    running, key = gateway
    faults, page_key = extra.pop("faults", None), extra.pop("key", None)
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
    credentials = tickloom.Credentials("tester", tickloom.Secret(key), "the test")
    return tickloom.Session(settings, credentials=credentials, faults=faults, dashboard_key=page_key)


def client_of(session: tickloom.Session) -> Client:
    """A client that knows the session's token."""
    address, _, token = str(session.dashboard).partition("/?token=")
    return Client(int(address.rpartition(":")[2]), token)


@pytest.fixture
def begin(gateway: tuple[Emulator, str]) -> Iterator[Callable[..., tuple[tickloom.Session, Client | None]]]:
    """Start sessions on the emulator: `begin(faults=…, http__port=…)` returns the session and a client."""
    made: list[tickloom.Session] = []

    def start(**extra: Any) -> tuple[tickloom.Session, Client | None]:
        session = make_session(gateway, **extra)
        made.append(session)
        session.start()
        return session, client_of(session) if session.dashboard else None

    yield start
    for session in made:
        if session.summary is None and session.started:
            session.stop()


@pytest.fixture(scope="module")
def live(gateway: tuple[Emulator, str]) -> Iterator[tuple[tickloom.Session, Client]]:
    """One session that runs for all tests which only look."""
    session = make_session(gateway)
    with session:
        yield session, client_of(session)
