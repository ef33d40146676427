"""The stream's pace: what a page is sent depends on its own clock, never on the feed."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import threading
from collections.abc import Callable
from typing import Any

from tickloom.actors.http.stream import BOARD_S, CHART_S, EVENTS, Boards, Reader, frame
from tickloom.messages.bars import Bar
from tickloom.supervision import Started
from tickloom.supervision.testing import ManualClock

TIMEOUT = 10.0


def events(data: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in data.decode().split("\n\n"):
        if block:
            name, payload = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(payload.removeprefix("data: "))))
    return found


def reader(world: Any, clock: ManualClock, contract: str = "MNQ", timeframe: str = "1s") -> Reader:
    views = world.views()
    return Reader(views, Boards(views, clock.wall_ns, clock.monotonic_ns), contract, timeframe)


def test_a_frame_is_one_event_of_one_line() -> None:
    assert frame("board", {"text": "a\nb"}) == b'event: board\ndata: {"text":"a\\nb"}\n\n'


def test_a_page_begins_with_everything_and_is_then_sent_nothing_while_nothing_happens(
    world: Any, make_bar: Any
) -> None:
    world.say(settled=[make_bar(1), make_bar(2)])
    world.events.append(Started(path="/a", at_ns=1, epoch=1))
    page = reader(world, ManualClock())
    names = [name for name, _ in events(page.news())]
    assert names == ["session", "bars", "board", "events"]
    assert page.news() == b""


def test_a_thousand_updates_between_two_looks_are_one_bar(world: Any, make_bar: Callable[..., Bar]) -> None:
    page = reader(world, ManualClock())
    page.news()
    for close in range(1000):
        world.say(updated=[make_bar(5, close + 1, final=False)])
    ((name, chart),) = events(page.news())
    assert name == "bars"
    assert chart["reset"] is False
    assert chart["bars"]["close"] == [250.0]


def test_boards_come_a_second_apart_and_are_made_once_for_all_pages(world: Any) -> None:
    clock, looks = ManualClock(), []
    inner = world.tree
    world.tree = lambda: looks.append(1) or inner()
    views = world.views()
    boards = Boards(views, clock.wall_ns, clock.monotonic_ns)
    pages = [Reader(views, boards, "MNQ", "1s") for _ in range(5)]
    for page in pages:
        page.news()
    assert len(looks) == 1
    clock.advance(BOARD_S * 0.75)
    assert [page.news() for page in pages] == [b""] * 5
    clock.advance(BOARD_S * 0.25)
    assert [[name for name, _ in events(page.news())] for page in pages] == [["board"]] * 5
    assert len(looks) == 2


def test_events_are_sent_once_and_the_first_batch_is_bounded(world: Any) -> None:
    world.events = [Started(path="/a", at_ns=at, epoch=1) for at in range(EVENTS + 50)]
    page = reader(world, ManualClock())
    (sent,) = [data for name, data in events(page.news()) if name == "events"]
    assert [event["at_ns"] for event in sent] == list(range(50, EVENTS + 50))
    world.events.append(Started(path="/b", at_ns=9, epoch=2))
    ((name, more),) = events(page.news())
    assert (name, [event["path"] for event in more]) == ("events", ["/b"])


def test_a_contract_nobody_follows_has_no_chart_and_everything_else(world: Any) -> None:
    page = reader(world, ManualClock(), contract="XYZ")
    assert [name for name, _ in events(page.news())] == ["session", "board"]


def test_a_contract_that_joins_is_announced(world: Any) -> None:
    page = reader(world, ManualClock())
    page.news()
    mnq = world.instruments["MNQ"]
    world.instruments = {**world.instruments, "GC": type(mnq)("GC", 1, 10)}
    ((name, session),) = events(page.news())
    assert name == "session"
    assert [each["contract"] for each in session["contracts"]] == ["MNQ", "GC"]


def test_over_a_socket_the_clock_sets_the_pace_whatever_the_feed_does(world: Any, serve: Any, make_bar: Any) -> None:
    clock, heard = ManualClock(), queue.Queue[tuple[str, Any]]()
    client, _ = serve(world.views(), clock=clock)
    stream = client.stream("contract=MNQ&timeframe=1s")

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError, http.client.HTTPException):
            while True:
                heard.put(stream.next())

    listener = threading.Thread(target=listen)
    listener.start()
    passed, charts, said = 0, [], 0
    while heard.get(timeout=TIMEOUT)[0] != "board":
        pass
    while len(charts) < 8:
        for _ in range(50):
            said += 1
            world.say(updated=[make_bar(5, said, final=False)])
        clock.advance(CHART_S)
        passed += 1
        with contextlib.suppress(queue.Empty):
            while True:
                name, data = heard.get(timeout=0.05)
                charts += [data["bars"]["close"]] if name == "bars" else []
    stream.hang_up()
    listener.join(TIMEOUT)
    stream.close()
    assert said >= 50 * len(charts)
    assert len(charts) <= passed, "no two looks are closer together than the pace"
    assert all(len(close) == 1 for close in charts), "fifty updates are one"
