"""Account events: from the user hub of an emulator in a process of its own, through a session, and out of its log."""

from __future__ import annotations

import itertools
import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tickloom
from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.projectx import user_event
from tickloom.scripts.emulator import Emulator

MNQ = "CON.F.US.MNQ.Z25"
ACCOUNTS = (1001, 1002)


@pytest.fixture
def start(emulated: Callable[..., Any]) -> Callable[..., tuple[Emulator, tickloom.Session]]:
    """Start an emulator with options and a session on it that follows accounts."""
    quick = ("--user-event-s", "0.02")
    return partial(emulated, *quick, rate=50, session__timeframes="1s", gateway__accounts=ACCOUNTS)


def ask(emulator: Emulator, path: str, **switches: Any) -> bytes:
    body = json.dumps(switches).encode() if switches else None
    request = urllib.request.Request(f"{emulator.api_url}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def told(emulator: Emulator) -> list[Any]:
    """What the gateway told, in order, as typed messages: wrappers taken off by hand."""
    rows = [json.loads(line) for line in ask(emulator, "/truth/user?from=0&to=100000").splitlines()]
    bodies = [(row["target"], row["payload"].get("data", row["payload"])) for row in rows]
    return [user_event(target, msgspec.json.encode(body)) for target, body in bodies]


def news(events: list[tickloom.AccountEvent]) -> list[Any]:
    return [event.news for event in events if not isinstance(event.news, Connected | Disconnected)]


def test_accounts_orders_positions_and_trades_come_typed_and_in_order_and_out_of_the_log_again(
    start: Callable[..., tuple[Emulator, tickloom.Session]], tmp_path: Path
) -> None:
    emulator, session = start()
    with session:
        stream = session.account_events()
        got = list(itertools.islice(stream, 60))
    rest = list(stream)  # what came until the end, and then the end
    assert stream.dropped == 0
    kinds = Counter(type(event.news).__name__ for event in got)
    assert {"UserAccount", "UserOrder", "UserPosition", "UserTrade"} <= set(kinds)
    heard, truth = news(got + rest), told(emulator)
    first = truth.index(next(each for each in heard if not isinstance(each, tickloom.UserAccount)))
    without = [each for each in heard if not isinstance(each, tickloom.UserAccount)]
    expected = [each for each in truth[first:] if not isinstance(each, tickloom.UserAccount)]
    assert without == expected[: len(without)]
    assert [event.seq for event in got] == sorted(event.seq for event in got)
    logged = list(tickloom.recorded_account_events(tmp_path / "log"))
    assert logged[-len(got + rest) :] == got + rest, "a log gives the very same messages"
    one = list(tickloom.recorded_account_events(tmp_path / "log", 1002))
    assert {event.account for event in one} == {1002, None}
    # and they change no bar
    assert session.summary is not None
    assert tickloom.replay(tmp_path / "log", verify=True).digest == session.summary.digest


def test_a_stream_is_of_one_account_or_of_all_and_holds_no_more_than_its_capacity(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    _, session = start()
    with session:
        one, few, every = session.account_events(1001), session.account_events(capacity=3), session.account_events()
        list(itertools.islice(every, 60))
        assert {event.account for event in itertools.islice(one, 20)} - {None} == {1001}  # None: the link
        few.close()
        assert len(list(few)) <= 3
        assert few.dropped >= 50
        with pytest.raises(tickloom.UsageError, match=r"gateway\.accounts") as refused:
            session.account_events(7_654_321)
        assert "7654321" not in str(refused.value)


def test_every_event_comes_once_while_tokens_that_live_seconds_are_renewed(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    emulator, session = start("--token-ttl", "3")
    with session:
        stream = session.account_events()
        got: list[tickloom.AccountEvent] = []
        ends = 0
        while ends < 2:  # two connections of the user hub were replaced
            event = next(stream)
            got.append(event)
            ends += isinstance(event.news, Disconnected)
    ended = [event.news.cause for event in got if isinstance(event.news, Disconnected)]
    assert all(cause.startswith("replaced by") for cause in ended), ended
    heard, truth = Counter(map(repr, news(got))), told(emulator)
    orders = [repr(each) for each in truth if not isinstance(each, tickloom.UserAccount)]
    span = [at for at, each in enumerate(orders) if each in heard]
    assert [heard[each] for each in orders[span[0] : span[-1] + 1]] == [1] * (span[-1] - span[0] + 1)


def test_a_user_link_that_is_lost_says_so_and_comes_back_and_the_bars_go_on(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    emulator, session = start()
    with session:
        stream = session.account_events()
        list(itertools.islice(stream, 5))
        ask(emulator, "/chaos", abort="tcp", hub="user")
        after = list(itertools.takewhile(lambda event: not isinstance(event.news, Connected), stream))
        assert any(isinstance(event.news, Disconnected) for event in after)
        assert news(list(itertools.islice(stream, 5))), "it goes on"
        assert session.feed_lost is None
    assert session.summary is not None
    assert session.summary.gaps == 0, "the market link was not touched"


def test_without_accounts_there_is_no_user_hub_and_asking_for_events_says_what_to_do(
    start: Callable[..., tuple[Emulator, tickloom.Session]],
) -> None:
    emulator, session = start(gateway__accounts=())
    with session:
        with pytest.raises(tickloom.UsageError, match=r"name them in gateway\.accounts"):
            session.account_events()
        hubs = [each["hub"] for each in json.loads(ask(emulator, "/truth/connections"))]
        assert hubs == ["market"]
    assert [each.name for each in threading.enumerate() if each.name.startswith("tickloom")] == []
