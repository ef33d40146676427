"""Crash any actor of a session, at any point, any number of times within its budget: the bars do not show it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tickloom
from tickloom.scripts.emulator import Emulator
from tickloom.supervision import BreakerChanged
from tickloom.supervision.faults import FaultPlan, InjectedCrash

MNQ = "CON.F.US.MNQ.Z25"
Make = Callable[..., tickloom.Session]

QUICK = {
    "supervision__backoff_base_s": 0.001,
    "supervision__backoff_cap_s": 0.01,
    "supervision__reset_timeout_s": 0.3,
    "supervision__max_reset_timeout_s": 0.3,
}
FOLDS = (
    "/pipeline/validation",
    "/pipeline/finest",
    "/pipeline/bars/1s",
    "/pipeline/bars/5s",
    "/pipeline/bars/1m",
    "/observers/ledger",
    "/observers/history",
    "/observers/statistics",
    "/observers/health",
    "/observers/parquet",
)
FOLD_POINTS = ("start", "before_fold", "after_fold", "before_commit", "after_commit", "on_emit")
OTHERS = ("/observers/publisher", "/recorder", "/clock", "/feed/token", "/feed/market")
OTHER_POINTS = ("start", "before_batch", "after_batch", "on_control")


@pytest.fixture(scope="module")
def recorded(emulator: tuple[Emulator, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A log of a short live session, and the digest of its undisturbed bars."""
    running, key = emulator
    log = tmp_path_factory.mktemp("recorded") / "log"
    config = {
        "gateway.api_url": running.api_url,
        "gateway.market_hub_url": running.market_hub_url,
        "gateway.user_hub_url": running.user_hub_url,
        "session.contracts": (MNQ, "CON.F.US.EP.Z25"),
        "session.timeframes": "1s,5s,1m",
        "recorder.dir": str(log),
        **{name.replace("__", "."): value for name, value in QUICK.items()},
    }
    credentials = tickloom.Credentials("tester", tickloom.Secret(key), "the test")
    with tickloom.Session(config, credentials=credentials) as session:
        for bar, _ in zip(session.bars(MNQ, "1s"), range(3), strict=False):
            assert bar.trades
    assert session.summary is not None
    return log, session.summary.digest


@pytest.mark.parametrize("rows", [1, 7, 100_000])
def test_one_log_one_digest_at_any_batch_size(recorded: tuple[Path, str], rows: int) -> None:
    log, digest = recorded
    assert tickloom.replay(log, batch_rows=rows).digest == digest


@pytest.mark.parametrize("path", FOLDS)
def test_a_fold_crashed_at_every_point_gives_the_same_bars(
    recorded: tuple[Path, str], tmp_path: Path, path: str
) -> None:
    log, digest = recorded
    plan = FaultPlan()
    for nth, point in enumerate(FOLD_POINTS, start=1):
        plan.crash(path, point, nth=nth + 1, times=2)  # never the very first start: that one must not fail
    result = tickloom.replay(log, batch_rows=50, faults=plan, out=tmp_path / "out")
    assert plan.crashes >= 2, "the plan struck"
    assert result.summary.restarts >= 2
    assert (result.digest, result.summary.lost, result.summary.quarantined) == (digest, 0, 0)
    assert [t.name for t in threading.enumerate() if t.name.startswith("tickloom-replay")] == []


@pytest.mark.parametrize("path", OTHERS)
def test_an_actor_of_a_live_session_crashed_at_every_point_leaves_the_bars_as_the_log_has_them(
    make_session: Make, tmp_path: Path, path: str
) -> None:
    plan = FaultPlan()
    for nth, point in enumerate(OTHER_POINTS, start=1):
        if point != "start":
            plan.crash(path, point, nth=nth)
    with make_session(faults=plan, **QUICK) as session:
        # the connection has no messages of its own to crash at: its control lane is what reaches it
        if path == "/feed/market":
            for _ in range(4):
                with contextlib.suppress(InjectedCrash):  # the asker is told
                    session.unsubscribe("CON.F.US.EP.Z25")
        for bar, _ in zip(session.bars(MNQ, "1s"), range(4), strict=False):
            assert bar.trades
    summary = session.summary
    assert summary is not None
    assert summary.lost == 0
    if path != "/feed/token":  # nothing is asked of it while the token is young
        assert plan.crashes >= 1
        assert summary.restarts >= 1
    replayed = tickloom.replay(tmp_path / "log")
    assert replayed.summary.ticks == summary.ticks
    assert replayed.digest == summary.digest


def strike(crashed: set[str], path: str) -> None:
    """Crash an actor once."""
    if path not in crashed:
        crashed.add(path)
        raise InjectedCrash(path)


def test_every_actor_of_a_running_session_crashed_again_and_again_leaves_the_bars_as_they_are(
    make_session: Make, tmp_path: Path
) -> None:
    """All that are in the tree, whoever they are by now: what is added to it is crashed here as well."""
    plan = FaultPlan()
    session = make_session(
        faults=plan,
        sinks__out=str(tmp_path / "out"),
        http__enabled=True,
        http__port=0,
        gateway__accounts=(1,),
        session__timeframes="1s,5s,1m,50t",
        **QUICK,
    )
    with session:
        paths = [view.path for view in session.tree().walk() if view.counters is not None]
        points = (
            "before_fold",
            "after_fold",
            "before_commit",
            "after_commit",
            "on_emit",
            "before_batch",
            "after_batch",
        )
        for path in paths:
            passed = session.tree().find(path)
            for nth, point in enumerate(points, start=1):
                plan.crash(path, point, nth=(passed.emitted if point == "on_emit" else passed.handled) + 20 * nth)
        crashed: set[str] = set()
        for path in paths:
            for nth in range(1, 40):  # those that are asked for something have passed this point before
                plan.call(path, "on_control", lambda path=path: strike(crashed, path), nth=nth)  # type: ignore[misc]
        for path in paths:
            while path not in crashed:
                session._running().tree.ref(path).tell("anything")
                threading.Event().wait(0.01)
        stream = session.bars(MNQ, "1s")
        for _ in range(5):
            next(stream)
        came_back = {view.path: view for view in session.tree().walk()}
        assert [path for path in paths if came_back[path].restarts < 1] == [], "each was crashed at least once"
        folds = [path for path in paths if path in FOLDS and path != "/observers/parquet"]
        assert [path for path in folds if came_back[path].restarts < 3] == [], "and those with traffic many times"
        assert {came_back[path].breaker for path in paths} <= {"closed", None}
    summary = session.summary
    assert summary is not None
    assert (summary.lost, summary.quarantined) == (0, 0)
    replayed = tickloom.replay(tmp_path / "log")
    assert (replayed.summary.ticks, replayed.digest) == (summary.ticks, summary.digest)
    assert tickloom.replay(tmp_path / "log", batch_rows=7).digest == summary.digest


BEYOND: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "pipeline": {path: ("before_fold", (3,) * 6) for path in FOLDS if path.startswith("/pipeline")},
    "observers": {path: ("before_fold", (3,) * 6) for path in FOLDS if path.startswith("/observers")}
    | {"/observers/publisher": ("before_batch", (3,) * 6)},
    "health": {},
    # neither clock nor token has a data lane; recorder and connection crash once and then fail to start
    "input": {
        "/recorder": ("start", (2, 3, 4, 5, 6)),
        "/clock": ("on_control", (3, 4, 5, 6, 7, 8)),
    },
    "token": {"/feed/token": ("on_control", (1, 2, 3, 4, 5, 6))},
    "market": {"/feed/market": ("start", (2, 3, 4, 5, 6))},
}

BEYOND["health"]["/observers/health"] = BEYOND["observers"].pop("/observers/health")


@pytest.mark.parametrize("group", BEYOND)
def test_beyond_the_budget_the_breaker_opens_health_says_so_and_the_bars_are_right_afterwards(
    make_session: Make, tmp_path: Path, group: str
) -> None:
    plan = FaultPlan()
    for path, (point, passes) in BEYOND[group].items():
        for nth in passes:
            plan.crash(path, point, nth=nth)
    plan.crash("/recorder", "before_batch", nth=3, times=int(group == "input"))
    plan.crash("/feed/market", "on_control", times=int(group == "market"))
    opened: queue.Queue[str] = queue.Queue()
    closed: dict[str, threading.Event] = {path: threading.Event() for path in BEYOND[group]}

    def listen(event: object) -> None:
        if isinstance(event, BreakerChanged):
            if event.after == "open":
                opened.put(event.path)
            elif event.after == "closed":
                closed[event.path].set()

    slower = {"supervision__reset_timeout_s": 1.5, "supervision__max_reset_timeout_s": 1.5}
    session = make_session(faults=plan, sinks__out=str(tmp_path / "out"), **{**QUICK, **slower})
    # `start` returns when the feed is up, and some of these keep it down for a while: look on meanwhile
    starting = threading.Thread(target=session.start)
    starting.start()
    within(20, lambda: session.started)
    with contextlib.closing(_Stop(session)):
        session.events(listen)
        for event in session.recent_events():
            listen(event)
        seen: set[str] = set()
        while seen != set(closed):
            path = opened.get(timeout=20)
            if path in seen:
                continue
            within(1.0, lambda path=path: said(session.health(), path))  # type: ignore[misc]
            seen.add(path)
        for path, recovered in closed.items():
            assert recovered.wait(20), f"{path} did not recover"
        starting.join(30)
        stream = session.bars(MNQ, "1s")
        for _ in range(2):
            next(stream)
    summary = session.summary
    assert summary is not None
    assert (summary.lost, summary.quarantined) == (0, 0)
    replayed = tickloom.replay(tmp_path / "log")
    assert (replayed.summary.ticks, replayed.digest) == (summary.ticks, summary.digest)


def test_the_other_actors_breakers_open_and_close_as_well_and_the_bars_are_right(
    make_session: Make, tmp_path: Path
) -> None:
    """Those that `BEYOND` does not name, whoever they are by now, one after the other."""
    plan = FaultPlan()
    session = make_session(
        faults=plan,
        sinks__out=str(tmp_path / "out"),
        http__enabled=True,
        http__port=0,
        gateway__accounts=(1,),
        **{**QUICK, "supervision__reset_timeout_s": 1.5, "supervision__max_reset_timeout_s": 1.5},
    )
    crashing: set[str] = set()

    def strike_while(path: str) -> None:
        if path in crashing:
            raise InjectedCrash(path)

    with session:
        named = {path for group in BEYOND.values() for path in group}
        paths = [v.path for v in session.tree().walk() if v.counters is not None and v.path not in named]
        assert {"/checkpoint", "/feed/user", "/observers/http"} <= set(paths)
        for path in paths:
            for nth in range(1, 100):
                plan.call(path, "on_control", lambda path=path: strike_while(path), nth=nth)  # type: ignore[misc]
        crashing |= set(paths)
        opened: set[str] = set()
        while opened != set(paths):
            for path in set(paths) - opened:
                if session.tree().find(path).breaker == "open":
                    within(1.0, lambda path=path: said(session.health(), path))  # type: ignore[misc]
                    crashing.discard(path)
                    opened.add(path)
                else:
                    session._running().tree.ref(path).tell("anything")
            threading.Event().wait(0.01)
        for path in paths:
            within(20, lambda path=path: session.tree().find(path).breaker == "closed")  # type: ignore[misc]
        next(session.bars(MNQ, "1s"))
    summary = session.summary
    assert summary is not None
    assert (summary.lost, summary.quarantined) == (0, 0)
    assert tickloom.replay(tmp_path / "log").digest == summary.digest


class _Stop:
    """Stops a session that was started by hand."""

    def __init__(self, session: tickloom.Session) -> None:
        self._session = session

    def close(self) -> None:
        self._session.stop()


def said(health: tickloom.Health, path: str) -> bool:
    return health.status == "unhealthy" and any(f"the breaker of {path} is" in reason for reason in health.reasons)


def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until something holds that tells nobody when it does."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        never.wait(0.01)
