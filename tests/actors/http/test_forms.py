"""The API's shapes: events and failures in words, and nothing in them that must not be seen."""

from __future__ import annotations

from typing import Any

import pytest

from tickloom.actors.http.forms import actor_form, event_form, health_form, session_form, since
from tickloom.actors.pressure.events import FlowYielded, LimitChanged, OverflowBegan, OverflowEnded
from tickloom.messages.reports import Health, Latency
from tickloom.supervision import (
    ActorView,
    BreakerChanged,
    CapacityChanged,
    Event,
    Exit,
    Exited,
    ExitKind,
    Failure,
    IntensityExceeded,
    Overrun,
    Quarantine,
    Restarting,
    Started,
    Straggler,
    SubscriberDropped,
)

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl"
AT: dict[str, Any] = {"path": "/feed/market", "at_ns": 7}


def failure(text: str) -> Failure:
    return Failure(
        **AT, epoch=1, phase="task", cause=ValueError(text), traceback_text=f"Traceback …\nValueError: {text}"
    )


@pytest.mark.parametrize(
    ("event", "severity", "words"),
    [
        (Started(**AT, epoch=1), "info", "started"),
        (Started(**AT, epoch=3), "good", "incarnation 3"),
        (Exited(**AT, epoch=1, exit=Exit(ExitKind.SHUTDOWN)), "info", "shutdown"),
        (Exited(**AT, epoch=1, exit=Exit(ExitKind.CRASH, ValueError("no"))), "warning", "ValueError: no"),
        (failure("it broke"), "error", "failed in task: ValueError: it broke"),
        (Restarting(**AT, epoch=2, attempt=0, delay=0.25), "warning", "0.25 s (attempt 1)"),
        (BreakerChanged(**AT, before="closed", after="open", cause="5 failures"), "error", "5 failures"),
        (BreakerChanged(**AT, before="open", after="half-open", cause=""), "warning", "open → half-open"),
        (BreakerChanged(**AT, before="half-open", after="closed", cause=""), "good", "half-open → closed"),
        (IntensityExceeded(**AT, child="a", intensity=3, period=5.0), "error", "more than 3 restarts within 5 s"),
        (Overrun(**AT, epoch=1, doing="stop"), "error", "did not stop in time"),
        (Straggler(**AT, epoch=1), "info", "has ended"),
        (Quarantine(**AT, epoch=1, count=1, cause="bad"), "error", "1 message put in quarantine: bad"),
        (CapacityChanged(**AT, before=4, after=8), "info", "4 → 8"),
        (SubscriberDropped(**AT, failures=3), "warning", "raised 3 times"),
        (OverflowBegan(**AT, capacity=4, account="3 merged"), "warning", "mailbox of 4 overflows: 3 merged"),
        (OverflowEnded(**AT, seconds=1.25, account="9 merged"), "good", "over after 1.2 s: 9 merged"),
        (
            LimitChanged(**AT, limit="mailbox", before="1", after="2", cause="it overflows"),
            "info",
            "1 → 2: it overflows",
        ),
        (FlowYielded(**AT, flow="quotes", back=False, cause="90%"), "warning", "gives way: quotes (90%)"),
        (FlowYielded(**AT, flow="quotes", back=True, cause="calm"), "good", "in full again: quotes (calm)"),
    ],
)
def test_every_event_has_words_and_a_severity(event: Event, severity: str, words: str) -> None:
    form = event_form(event)
    assert form.severity == severity
    assert words in form.text
    assert (form.kind, form.path, form.at_ns) == (type(event).__name__, "/feed/market", 7)


def test_no_token_gets_out_with_a_failure_an_event_or_a_reason() -> None:
    broken = failure(f"GET /hub?access_token={TOKEN} failed")
    view = ActorView("/feed/market", "HubActor", "backoff", 2, 1, "closed", broken, Exit(ExitKind.CRASH, broken.cause))
    told = [
        event_form(broken).text,
        event_form(Exited(**AT, epoch=1, exit=Exit(ExitKind.CRASH, broken.cause))).text,
        repr(actor_form(view, {}, whole=True)),
        repr(health_form(Health("degraded", (f"/feed/market failed: Bearer {TOKEN}",)))),
    ]
    for text in told:
        assert "eyJ" not in text
        assert "****" in text


def test_a_token_is_not_saved_by_being_cut_in_half() -> None:
    text = event_form(failure("x" * 380 + f" Bearer {TOKEN}")).text
    assert "eyJ" not in text
    assert len(text) <= 401


def test_an_actor_is_told_with_its_latency_and_tracebacks_only_where_asked() -> None:
    view = ActorView("/bars/1s", "TimeframeActor", "running", 1, 0, "closed", failure("it broke"), None)
    latency = {"/bars/1s": Latency(10, 0.5, 0.8, 1.25)}
    listed, whole = actor_form(view, latency, whole=False), actor_form(view, latency, whole=True)
    assert (listed.name, listed.p50_ms, listed.p99_ms) == ("1s", 0.5, 1.25)
    assert listed.last_failure is not None
    assert whole.last_failure is not None
    assert listed.last_failure.traceback == ""
    assert whole.last_failure.traceback.startswith("Traceback")


def test_events_since_the_last_one_seen() -> None:
    events: list[Event] = [Started(**AT, epoch=epoch) for epoch in range(1, 6)]
    assert list(since(events, None)) == events
    assert list(since(events, events[2])) == events[3:]
    assert list(since(events, events[-1])) == []
    twin = Started(**AT, epoch=1)
    assert list(since(events[1:], twin)) == events[1:], "one that has gone from the list: all of them are new"


def test_the_session_names_its_contracts_with_their_decimals(world: Any) -> None:
    form = session_form(world.views())
    assert [(each.contract, each.tick_size, each.decimals) for each in form.contracts] == [("MNQ", 0.25, 2)]
    assert form.timeframes == ["1s", "1m"]
