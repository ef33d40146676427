"""A program's own actors, sinks and callbacks in a session: fed, isolated, counted, shown, and drained."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

import tickloom
from tickloom.messages.bars import Bar
from tickloom.supervision import Actor, BreakerChanged, ChildSpec, Failure, MailboxSpec, StartError

MNQ = "CON.F.US.MNQ.Z25"
EP = "CON.F.US.EP.Z25"
WAIT_S = 30
QUICK = {"supervision__backoff_base_s": 0.001, "supervision__backoff_cap_s": 0.01, "supervision__max_failures": 3}
Make = Callable[..., tickloom.Session]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tickloom")]


class Remembering:
    """A sink that keeps what it is given and says when it has enough."""

    def __init__(self, enough: int = 1) -> None:
        self.bars: list[Bar] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.enough = threading.Event()
        self._count = enough

    def open(self) -> None:
        self.calls.append("open")

    def close(self) -> None:
        self.calls.append("close")

    def on_bars(self, bars: Sequence[Bar]) -> None:
        self.threads.add(threading.current_thread().name)
        self.bars += bars
        if len(self.bars) >= self._count:
            self.enough.set()


def test_a_sink_is_given_every_bar_in_a_thread_of_its_own_and_is_closed(make_session: Make) -> None:
    session, sink = make_session(), Remembering(2)
    path = session.add_sink(sink, MNQ, "1s", name="mine")
    with session:
        assert sink.enough.wait(WAIT_S)
        assert session.tree().find(path).state == "running"
    assert path == "/app/mine"
    assert isinstance(sink, tickloom.Sink)
    assert sink.calls == ["open", "close"]
    assert len(sink.threads) == 1
    assert sink.threads.pop().endswith("/app/mine")
    table = session.table(MNQ, "1s")
    assert [bar.open_time for bar in sink.bars] == table["open_time"].cast("int64").to_pylist()
    assert session.as_table(sink.bars).equals(table)
    assert session.unwritten == ()
    assert threads() == []


def test_a_sink_that_keeps_failing_is_told_counted_and_shown_and_the_session_goes_on(make_session: Make) -> None:
    class Broken:
        def on_bars(self, bars: Sequence[Bar]) -> None:
            raise OSError("no space left")

    session, healthy = make_session(**QUICK), Remembering(4)
    path = session.add_sink(Broken(), timeframe="1s")
    session.add_sink(healthy, timeframe="1s")
    opened = threading.Event()
    failures: list[Failure] = []

    def watch(event: Any) -> None:
        if isinstance(event, Failure) and event.path == path:
            failures.append(event)
        if isinstance(event, BreakerChanged) and event.path == path and event.after == "open":
            opened.set()

    with session:
        session.events(watch)
        assert opened.wait(WAIT_S)
        view = session.tree().find(path)
        health = session.health()
        before = len(healthy.bars)
        healthy.enough.clear()
        healthy._count = before + 2
        assert healthy.enough.wait(WAIT_S), "the others are given bars all the same"
    assert (view.breaker, view.failures) == ("open", 3)
    assert "no space left" in str(view.last_failure)
    assert any(path in reason and "no space left" in reason for reason in health.reasons)
    assert session.summary is not None
    assert session.summary.lost == 0
    assert any(path in sentence and "no space left" in sentence for sentence in session.unwritten)
    assert threads() == []


def test_a_sink_that_failed_once_is_given_the_same_bars_again(make_session: Make) -> None:
    class Once(Remembering):
        failed = False

        def on_bars(self, bars: Sequence[Bar]) -> None:
            if not self.failed:
                self.failed = True
                raise ConnectionError("the database went away")
            super().on_bars(bars)

    session, sink = make_session(**QUICK), Once(2)
    session.add_sink(sink, MNQ, "1s")
    with session:
        assert sink.enough.wait(WAIT_S)
    assert sink.calls == ["open", "close", "open", "close"]
    assert session.as_table(sink.bars).equals(session.table(MNQ, "1s"))


def test_a_callback_that_fails_on_a_bar_is_not_called_for_it_again(make_session: Make) -> None:
    session = make_session(**QUICK)
    seen: list[int] = []
    enough = threading.Event()

    def callback(bar: Bar) -> None:
        seen.append(bar.open_time)
        if len(seen) >= 3:
            enough.set()
        if len(seen) == 1:
            raise ValueError("not this one")

    path = session.on_bar(callback, MNQ, "1s")
    with session:
        assert enough.wait(WAIT_S)
        view = session.tree().find(path)
    assert path == "/app/callback"
    assert seen == sorted(set(seen))
    assert (view.failures, view.quarantined) == (1, 1)
    assert seen == session.table(MNQ, "1s")["open_time"].cast("int64").to_pylist()


def test_a_coroutine_function_is_called_in_the_loop_it_was_given_in(make_session: Make) -> None:
    async def main() -> tuple[list[str], list[int]]:
        names: list[str] = []
        seen: list[int] = []
        enough = asyncio.Event()

        async def strategy(bar: Bar) -> None:
            names.append(threading.current_thread().name)
            await asyncio.sleep(0)
            seen.append(bar.open_time)
            if len(seen) >= 2:
                enough.set()

        session = make_session()
        session.on_bar(strategy, MNQ, "1s")
        async with session:
            await asyncio.wait_for(enough.wait(), WAIT_S)
        return names, seen

    names, seen = asyncio.run(main())
    assert set(names) == {threading.current_thread().name}
    assert seen == sorted(set(seen))
    assert threads() == []


def test_a_coroutine_that_never_ends_does_not_keep_the_session_from_ending(make_session: Make) -> None:
    async def main() -> tuple[tickloom.Session, bool]:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def stuck(bar: Bar) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        session = make_session(supervision__shutdown_s=0.5)
        session.on_bar(stuck, MNQ, "1s")
        async with session:
            await asyncio.wait_for(begun.wait(), WAIT_S)
        await asyncio.wait_for(cancelled.wait(), WAIT_S)
        return session, cancelled.is_set()

    session, cancelled = asyncio.run(main())
    assert cancelled
    assert session.summary is not None
    assert any("/app/stuck did not finish" in sentence for sentence in session.unwritten)


def test_a_slow_sink_loses_its_own_oldest_bars_and_nobody_elses(make_session: Make) -> None:
    go = threading.Event()

    class Slow(Remembering):
        def on_bars(self, bars: Sequence[Bar]) -> None:
            go.wait(WAIT_S)
            super().on_bars(bars)

    session, slow, other = make_session(), Slow(), Remembering(400)
    path = session.add_sink(slow, MNQ, "1s", partial=True, capacity=16)
    session.add_sink(other, partial=True)
    with session:
        assert other.enough.wait(WAIT_S)
        counters = session.tree().find(path).counters
        go.set()
    assert counters is not None
    assert counters.dropped_oldest > 0
    assert counters.depth <= 16
    assert slow.bars[-1].open_time == max(bar.open_time for bar in slow.bars)
    assert session.summary is not None
    assert session.summary.lost == 0


class Counting(Actor):
    """An actor of the program's own: counts volume, and says how much when it is asked."""

    def on_start(self) -> None:
        self._volume = 0

    def on_batch(self, messages: list[Any]) -> None:
        self._volume += sum(bar.volume for bar in messages)

    def on_control(self, message: Any) -> Any:
        return self._volume if message == "how much?" else self.unhandled(message)


def test_an_actor_of_the_programs_own_is_fed_and_can_be_asked(make_session: Make) -> None:
    session, sink = make_session(), Remembering(2)
    path = session.add_actor(ChildSpec(id="counting", start=Counting, mailbox=MailboxSpec(capacity=64)))
    session.deliver(path, MNQ, "1s")
    session.add_sink(sink, MNQ, "1s")
    with session:
        assert sink.enough.wait(WAIT_S)
        answer = session.ref(path).ask("how much?")
        assert session.tree().find(path).breaker == "closed", "it got the session's usual breaker"
    assert session.added == ("/app/counting", "/app/remembering")
    assert 0 < answer <= sum(session.table(MNQ, "1s")["volume"].to_pylist())


def test_they_come_and_go_while_the_session_runs(make_session: Make) -> None:
    with make_session() as session:
        first, second = Remembering(), Remembering()
        path = session.add_sink(first, MNQ, "1s")
        assert first.enough.wait(WAIT_S)
        session.remove(path)
        count = len(first.bars)
        assert first.calls == ["open", "close"]
        again = session.add_sink(second, MNQ, "1s")
        assert second.enough.wait(WAIT_S)
        assert (path, again) == ("/app/remembering", "/app/remembering")
        assert len(first.bars) == count
        with pytest.raises(tickloom.UsageError, match="nothing at /app/nobody: /app/remembering"):
            session.remove("/app/nobody")
    assert threads() == []


def test_what_cannot_work_is_refused_before_anything_is_added(make_session: Make) -> None:
    async def later(bar: Bar) -> None: ...

    with make_session() as session:
        for call, words in (
            (lambda: session.add_sink(object()), "object is no sink"),  # type: ignore[arg-type]
            (lambda: session.add_sink(Remembering(), "CON.F.US.XXX.Z25"), "not followed"),
            (lambda: session.add_sink(Remembering(), MNQ, "17m"), "17m is not built"),
            (lambda: session.on_bar(later), "call on_bar from a coroutine"),
        ):
            with pytest.raises(tickloom.UsageError, match=words):
                call()
        session.add_sink(Remembering(), name="one")
        with pytest.raises(tickloom.UsageError, match="already"):
            session.add_sink(Remembering(), name="one")
        assert session.added == ("/app/one",)
    with pytest.raises(tickloom.UsageError, match="the session has ended"):
        session.add_sink(Remembering(), name="late")


def test_a_sink_that_cannot_open_keeps_the_session_from_starting_and_nothing_is_left(make_session: Make) -> None:
    class Closed(Remembering):
        def open(self) -> None:
            raise PermissionError("the file is not yours")

    session = make_session()
    session.add_sink(Closed())
    with pytest.raises((StartError, OSError), match="not yours"):
        session.start()
    assert threads() == []


def test_a_contract_that_a_sink_wants_and_nobody_follows_keeps_the_session_from_starting(make_session: Make) -> None:
    session = make_session()
    session.add_sink(Remembering(), "CON.F.US.XXX.Z25")
    with pytest.raises(tickloom.UsageError, match="not followed"):
        session.start()
    assert threads() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0.5}, "partial=True"),
        ({"partial": True, "every": -1}, "every=-1"),
        ({"partial": True, "every": float("nan")}, "every=nan"),
        ({"partial": True, "every": 1e9}, "86400"),
    ],
)
def test_a_pace_that_is_none_is_refused_before_anything_hangs_in_the_tree(
    make_session: Make, arguments: dict[str, Any], words: str
) -> None:
    session = make_session()
    session.start()
    before = session.tree()
    for ask in (session.bars, partial(session.on_bar, print), partial(session.deliver, "/app/x")):
        with pytest.raises(tickloom.UsageError, match=words):
            ask(**arguments)
    assert [view.path for view in session.tree().walk()] == [view.path for view in before.walk()]


def test_a_subscriber_is_shown_open_bars_at_the_pace_it_asked_for(make_session: Make) -> None:
    """Who asks for a look a day sees the first state of the hour's bar, and what it came to."""
    session = make_session(session__timeframes="1h")
    session.start()
    usual = session.bars(MNQ, "1h", partial=True)
    daily = session.bars(MNQ, "1h", partial=True, every=86_400)
    shown = [next(usual) for _ in range(3)]
    session.stop()
    first, *others = daily
    assert [bar.final for bar in shown] == [False, False, False]
    assert not first.final
    assert all(bar.final for bar in others)
    assert sum(bar.trades for bar in others) > first.trades
