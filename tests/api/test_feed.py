"""The feed over time: tokens are renewed, links break, and the bars hold what the gateway says was delivered."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tickloom
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"
NS = 1_000_000_000


@pytest.fixture
def start(emulated: Callable[..., Any]) -> Callable[..., tuple[Emulator, tickloom.Session]]:
    """Start an emulator with options and a session on it."""
    return partial(emulated, session__timeframes="1s,5s")


def chaos(emulator: Emulator, **switches: Any) -> None:
    body = json.dumps(switches).encode()
    request = urllib.request.Request(f"{emulator.api_url}/chaos", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def truth(emulator: Emulator) -> dict[int, tuple[int, int]]:
    """Volume and number of the ticks delivered on any connection, by second; each tick once."""
    with urllib.request.urlopen(f"{emulator.api_url}/truth/sent?contract={MNQ}", timeout=30) as answer:
        connections = json.load(answer)
    ticks: dict[int, tuple[int, int]] = {}
    for connection in connections:
        for first, last in connection["sent"]["ranges"]:
            address = f"{emulator.api_url}/truth?contract={MNQ}&from={first}&to={last}"
            with urllib.request.urlopen(address, timeout=30) as answer:
                for line in answer:
                    tick = json.loads(line)
                    ticks[tick["i"]] = (tick["t_ns"] // NS, tick["volume"])
    bars: dict[int, tuple[int, int]] = {}
    for second, volume in ticks.values():
        before = bars.get(second, (0, 0))
        bars[second] = (before[0] + volume, before[1] + 1)
    return bars


def ours(session: tickloom.Session) -> dict[int, tuple[int, int]]:
    table = session.table(MNQ, "1s")
    seconds = [ns // NS for ns in table["open_time"].cast("int64").to_pylist()]
    return dict(zip(seconds, zip(table["volume"].to_pylist(), table["trades"].to_pylist(), strict=True), strict=True))


def see(session: tickloom.Session, bars: int) -> None:
    stream = session.bars(MNQ, "1s")
    for _ in range(bars):
        next(stream)
    stream.close()


def test_a_token_that_lives_seconds_is_renewed_and_no_tick_is_lost_or_doubled(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    emulator, session = start("--token-ttl", "3")
    with session:
        see(session, 9)
        session.unsubscribe(MNQ)
    assert session.summary is not None
    assert (session.summary.gaps, session.summary.lost, session.summary.restarts) == (0, 0, 0)
    with urllib.request.urlopen(f"{emulator.api_url}/truth/sent?contract={MNQ}", timeout=30) as answer:
        assert len(json.load(answer)) >= 3, "the connection was replaced"
    assert ours(session) == truth(emulator)


def test_a_link_that_breaks_is_a_gap_its_bars_are_flagged_and_the_rest_is_right(
    start: Callable[..., tuple[Emulator, tickloom.Session]], tmp_path: Path
) -> None:
    emulator, session = start(session__heal_gaps=False)
    down, up = threading.Event(), threading.Event()
    with session:
        session.on_health(lambda health: (down if health.links.get("market") != "up" else up).set())
        see(session, 2)
        chaos(emulator, abort="tcp")
        assert down.wait(10), "health noticed"
        see(session, 4)
        session.unsubscribe(MNQ)
    summary = session.summary
    assert summary is not None
    assert (summary.gaps, summary.lost) == (1, 0)
    flags = dict(zip(ours(session), session.table(MNQ, "1s")["flags"].to_pylist(), strict=True))
    gapped = [second for second, words in flags.items() if "gap" in words]
    assert 1 <= len(gapped) <= 3
    assert session.feed_lost is None, "a link that comes back was not lost for good"
    # what a broken link had in flight never came: the seconds of the gap may hold less, all others hold everything
    assert {s: v for s, v in ours(session).items() if s not in gapped} == {
        s: v for s, v in truth(emulator).items() if s not in gapped
    }
    assert tickloom.replay(tmp_path / "log").digest == summary.digest


def test_a_gateway_that_is_gone_is_said_and_comes_back_by_itself(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    emulator, session = start()
    degraded, healthy = threading.Event(), threading.Event()
    with session:
        see(session, 1)
        session.on_health(lambda health: (healthy if health.status == "healthy" else degraded).set())
        chaos(emulator, refuse_upgrade=1)
        chaos(emulator, abort=True)
        assert degraded.wait(10)
        assert any("market hub" in reason for reason in session.health().reasons)
        assert healthy.wait(20)
        see(session, 1)
    assert session.summary is not None
    assert session.summary.lost == 0


def test_a_key_that_is_refused_says_what_to_do_and_leaves_nothing_behind(
    start: Callable[..., tuple[Emulator, tickloom.Session]], tmp_path: Path
) -> None:
    _, session = start()
    session._credentials = tickloom.Credentials("tester", tickloom.Secret("wrong"), "the test")
    with pytest.raises(Exception, match=r"(?i)key") as caught:
        session.start()
    assert "wrong" not in str(caught.value)
    assert not (tmp_path / "log").exists()
    assert [t.name for t in threading.enumerate() if t.name.startswith("tickloom")] == []
