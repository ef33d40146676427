"""The metrics: readable by Prometheus' own parser, named by its conventions, and bounded."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tickloom.actors.http.metrics import Traffic, exposition, make_registry
from tickloom.messages.reports import Health, Latency, Statistics
from tickloom.supervision import ActorView, Counters


def worker(path: str, **extra: Any) -> ActorView:
    names = Counters.__dataclass_fields__
    counters = Counters(**{name: index for index, name in enumerate(names)})
    return ActorView(path, "Actor", "running", 3, 2, "open", None, None, counters=counters, alive=True, **extra)


def samples(world: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(make_registry(world.views(), Traffic())).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_the_views_say_is_what_is_exposed(world: Any) -> None:
    actor = worker("/bars/1s", handled=9, busy=1.5, depth=4, dead_letters={"unhandled": 2}, holds={"sockets": 2})
    world.tree = lambda: ActorView("/", "supervisor", "running", 1, 0, None, None, None, alive=True, children=(actor,))
    world.statistics = Statistics(
        ticks=41,
        rejected={"jump": 3},
        latency_by_source={"/bars/1s": Latency(40, 0.5, 1.0, 2.0, 4.0, 9.0)},
        counters={"/pressure": {"overflows": 2, "decisions": 5}},
        gauges={"/pressure": {"halvings": 3, "memory_used_ratio": 0.9}},
        contracts={"MNQ": {"accepted": 40, "rejected": 3}},
        outside={"MNQ": 6},
    )
    world.health = Health(
        "degraded",
        links={"market": "up", "user": "down"},
        feed_delay_ms={"MNQ": 12.0},
        token_seconds=60.0,
        disk_free={"log": 1024},
    )
    found = samples(world)
    one = ("actor", "/bars/1s")
    assert found["tickloom_ticks_total", ()] == 41
    assert found["tickloom_rejected_ticks_total", (("reason", "jump"),)] == 3
    assert found["tickloom_contract_ticks_total", (("contract", "MNQ"), ("outcome", "rejected"))] == 3
    assert found["tickloom_outside_session_ticks_total", (("contract", "MNQ"),)] == 6
    assert found["tickloom_mailbox_overflows_total", ()] == 2
    assert found["tickloom_pressure_decisions_total", ()] == 5
    assert found["tickloom_pressure_halvings", ()] == 3
    assert found["tickloom_memory_used_ratio", ()] == 0.9
    assert found["tickloom_disk_free_bytes", (("folder", "log"),)] == 1024
    assert found["tickloom_actor_resources", (one, ("kind", "sockets"))] == 2
    assert found["tickloom_receipt_to_bar_seconds", (one, ("quantile", "0.99"))] == 0.002
    assert found["tickloom_receipt_to_bar_seconds_count", (one,)] == 40
    assert found["tickloom_hub_up", (("hub", "market"),)] == 1
    assert found["tickloom_hub_up", (("hub", "user"),)] == 0
    assert found["tickloom_feed_delay_seconds", (("contract", "MNQ"),)] == 0.012
    assert found["tickloom_token_remaining_seconds", ()] == 60
    assert found["tickloom_actor_messages_total", (one,)] == 9
    assert found["tickloom_actor_busy_seconds_total", (one,)] == 1.5
    assert found["tickloom_actor_restarts_total", (one,)] == 2
    assert found["tickloom_mailbox_depth", (one,)] == 4
    assert actor.counters is not None
    assert found["tickloom_mailbox_messages_total", (one, ("outcome", "conflated"))] == actor.counters.conflated
    assert found["tickloom_dead_letters_total", (one, ("reason", "unhandled"))] == 2
    states = {
        state: found["tickloom_breaker_state", (one, ("state", state))] for state in ("closed", "half-open", "open")
    }
    assert states == {"closed": 0, "half-open": 0, "open": 1}
    health = {
        each: found["tickloom_health_status", (("status", each),)] for each in ("healthy", "degraded", "unhealthy")
    }
    assert health == {"healthy": 0, "degraded": 1, "unhealthy": 0}


def test_names_follow_the_conventions_of_prometheus(world: Any) -> None:
    world.tree = lambda: worker("/a")
    text = exposition(make_registry(world.views(), Traffic())).decode()
    families = [f for f in text_string_to_metric_families(text) if f.name.startswith("tickloom")]
    assert len(families) > 20
    for family in families:
        assert re.fullmatch(r"tickloom_[a-z][a-z_]*", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|milliseconds|percent|minutes|kb|mb)(_|$)", family.name), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        if family.type == "gauge":
            assert not family.name.endswith("_total"), family.name


def test_labels_that_hold_anything_are_escaped(world: Any) -> None:
    world.statistics = Statistics(rejected={'quote " and \\ and\nline': 1})
    assert samples(world)["tickloom_rejected_ticks_total", (("reason", 'quote " and \\ and\nline'),)] == 1
