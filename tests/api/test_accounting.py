"""Threads, tasks, sockets and files of a session are counted by owner, agree with the system's count, and end at zero."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

import tickloom
from tickloom.actors.connection.address import open_session, open_sockets
from tickloom.supervision import ActorView

MNQ = "CON.F.US.MNQ.Z25"
Make = Callable[..., tickloom.Session]


def held(view: ActorView) -> Counter[str]:
    """What all actors of a tree hold together."""
    total: Counter[str] = Counter()
    for each in view.walk():
        total.update(each.holds)
    return total


def sockets() -> int:
    return len([c for c in psutil.Process().net_connections("inet") if c.status in ("ESTABLISHED", "LISTEN")])


def files_in(folder: Path) -> int:
    return len([each for each in psutil.Process().open_files() if each.path.startswith(str(folder))])


def test_what_actors_say_they_hold_is_what_the_system_says_the_session_opened(
    make_session: Make, tmp_path: Path
) -> None:
    before = sockets()
    with make_session(http__enabled=True, http__port=0) as session:
        next(session.bars(MNQ, "1s"))
        tree = session.tree()
        total = held(tree)
        assert total["sockets"] == sockets() - before == 2, "the market hub's, and the one the dashboard listens on"
        assert tree.find("/feed/market").holds["sockets"] == 1
        assert tree.find("/observers/http").holds["sockets"] == 1
        assert total["files"] == files_in(tmp_path / "log") == 2, "the segment, and the lock"
        assert tree.find("/recorder").holds["files"] == 2
        named = {view.thread[1] for view in tree.walk() if view.thread is not None}
        running = {t.ident for t in threading.enumerate() if t.name.startswith("tickloom-")}
        assert named <= running, "threads that are there"
        assert tree.find("/feed/market").holds["tasks"] >= 3
        assert tree.find("/").holds["children"] == len(tree.children)


def test_all_of_it_is_zero_after_the_stop(make_session: Make) -> None:
    with make_session(http__enabled=True, http__port=0) as session:
        next(session.bars(MNQ, "1s"))
    total = held(session.tree())
    assert set(total) >= {"threads", "tasks", "sockets", "files", "children"}
    assert sum(total.values()) == 0


def test_without_the_flag_nothing_is_counted_and_nothing_is_left_behind_either(make_session: Make) -> None:
    before = sockets()
    with make_session(flags__task_accounting=False) as session:
        next(session.bars(MNQ, "1s"))
        assert held(session.tree()) == Counter()
    assert sockets() == before
    assert [t.name for t in threading.enumerate() if t.name.startswith("tickloom-")] == []


async def _names_of_aiohttp() -> None:
    http = open_session()
    assert open_sockets(http) == 0
    assert http.connector is not None
    assert isinstance(http.connector._acquired, set)
    assert hasattr(http.connector._conns, "values")
    await http.close()
    assert open_sockets(http) == 0


def test_the_private_names_of_aiohttp_that_are_used_are_there() -> None:
    import asyncio

    asyncio.run(_names_of_aiohttp())
    assert open_sockets(None) == 0
