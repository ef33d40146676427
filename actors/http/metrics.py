"""The session in Prometheus' exposition format: read at the moment of a scrape, from the same views as the page.

Names and units follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units, `_total` for
what only grows. Series are bounded: by the actors of the tree, the contracts followed, the reasons there are, and the
reasons of dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tickloom.actors.http.forms import lane
from tickloom.actors.http.views import Views
from tickloom.messages.reports import Health, Statistics
from tickloom.supervision import ActorView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

STATUSES: Final = ("healthy", "degraded", "unhealthy")
BREAKERS: Final = ("closed", "half-open", "open")


class Traffic:
    """What the http actor has served, since its incarnation began. Written by its thread alone."""

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        self.streams = 0

    def count(self, status: int) -> None:
        """Count an answer by its status."""
        self.requests[status] = self.requests.get(status, 0) + 1


class SessionCollector(Collector):
    """Turns views into metric families, each time it is asked."""

    def __init__(self, views: Views, traffic: Traffic) -> None:
        self._views = views
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        statistics, health, tree = self._views.statistics(), self._views.health(), self._views.tree()
        build = GaugeMetricFamily("tickloom_build_info", "Always 1; the version is a label.", labels=["version"])
        build.add_metric([self._views.version], 1)
        yield build
        yield GaugeMetricFamily(
            "tickloom_session_start_time_seconds", "When the session began.", value=self._views.started_ns / 1e9
        )
        yield from _of_statistics(statistics)
        yield from _of_pressure(statistics)
        yield from _of_health(health)
        yield from _of_tree(tree)
        yield from self._of_traffic()

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: a registry that asks would make a scrape of it."""
        return []

    def _of_traffic(self) -> Iterator[Metric]:
        requests = _counter("tickloom_http_requests", "Answers given by the dashboard's server, by status.", ["code"])
        for status, count in sorted(self._traffic.requests.items()):
            requests.add_metric([str(status)], count)
        yield requests
        yield GaugeMetricFamily("tickloom_http_streams", "Pages that are being kept up to date.", self._traffic.streams)


def make_registry(views: Views, traffic: Traffic) -> CollectorRegistry:
    """Return a registry of its own, with the process's usual metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SessionCollector(views, traffic))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics as text."""
    return generate_latest(registry)


def _of_statistics(statistics: Statistics) -> Iterator[Metric]:
    yield _counter("tickloom_ticks", "Prints that passed validation.", value=statistics.ticks)
    rejected = _counter("tickloom_rejected_ticks", "Prints that validation refused, by reason.", ["reason"])
    for reason, count in sorted(statistics.rejected.items()):
        rejected.add_metric([reason], count)
    yield rejected
    contracts = _counter("tickloom_contract_ticks", "Prints of each contract, by outcome.", ["contract", "outcome"])
    for contract, outcomes in sorted(statistics.contracts.items()):
        for outcome, count in outcomes.items():
            contracts.add_metric([contract, outcome], count)
    yield contracts
    outside = _counter("tickloom_outside_session_ticks", "Prints in final bars between two sittings.", ["contract"])
    for contract, count in sorted(statistics.outside.items()):
        outside.add_metric([contract], count)
    yield outside
    latency = Metric(
        "tickloom_receipt_to_bar_seconds", "From the receipt of a frame to the update of a bar.", "summary"
    )
    for path, each in sorted(statistics.latency_by_source.items()):
        quantiles = {"0.5": each.p50_ms, "0.9": each.p90_ms, "0.99": each.p99_ms, "0.999": each.p999_ms}
        for quantile, ms in quantiles.items():
            latency.add_sample(latency.name, {"actor": path, "quantile": quantile}, ms / 1000)
        latency.add_sample(f"{latency.name}_count", {"actor": path}, each.trades)
    yield latency
    yield _counter(
        "tickloom_statistics_sources_refused", "Reports of sources beyond the cap.", value=statistics.sources_refused
    )


def _of_pressure(statistics: Statistics) -> Iterator[Metric]:
    """Yield what the pressure actor reports; families without a value before it has, and where none is kept."""
    path = next((path for path, gauges in statistics.gauges.items() if "halvings" in gauges), "")
    gauges, totals = statistics.gauges.get(path, {}), statistics.counters.get(path, {})
    for name, key, text in (
        ("tickloom_memory_used_ratio", "memory_used_ratio", "Share used of the tightest bound on memory."),
        ("tickloom_pressure_halvings", "halvings", "How often limits are halved just now."),
        ("tickloom_pressure_flows_yielding", "flows_yielding", "Flows that give way just now."),
        ("tickloom_mailboxes_stretched", "stretched_mailboxes", "Mailboxes above their configured capacity."),
        ("tickloom_mailboxes_overflowing", "overflowing_mailboxes", "Mailboxes without room for all just now."),
    ):
        yield GaugeMetricFamily(name, text, gauges.get(key))
    yield _counter("tickloom_pressure_decisions", "Limits moved.", value=totals.get("decisions"))
    yield _counter("tickloom_mailbox_overflows", "Overflows that have begun.", value=totals.get("overflows"))


def _of_health(health: Health) -> Iterator[Metric]:
    yield _one_of(
        "tickloom_health_status", "1 for the status the session has.", "status", {"": health.status}, STATUSES
    )
    up = GaugeMetricFamily("tickloom_hub_up", "Whether a hub's connection is up.", labels=["hub"])
    for hub, state in sorted(health.links.items()):
        up.add_metric([hub], state == "up")
    yield up
    trips = GaugeMetricFamily("tickloom_hub_round_trip_seconds", "Round trip of the last ping.", labels=["hub"])
    for hub, milliseconds in sorted(health.round_trip_ms.items()):
        trips.add_metric([hub], milliseconds / 1000)
    yield trips
    yield GaugeMetricFamily(
        "tickloom_clock_offset_seconds", "Our clock less the gateway's.", value=health.clock_offset_ms / 1000
    )
    yield _by_contract("tickloom_feed_silence_seconds", "Since the last print.", health.staleness, 1.0)
    yield _by_contract(
        "tickloom_feed_delay_seconds",
        "Exchange stamp to receipt of the newest print, by one clock.",
        health.feed_delay_ms,
        0.001,
    )
    disk = GaugeMetricFamily("tickloom_disk_free_bytes", "Free under log and files.", labels=["folder"])
    for folder, free in sorted(health.disk_free.items()):
        disk.add_metric([folder], free)
    yield disk
    if health.token_seconds is not None:
        yield GaugeMetricFamily("tickloom_token_remaining_seconds", "Time left on the token.", health.token_seconds)


def _of_tree(tree: ActorView) -> Iterator[Metric]:
    everybody = list(tree.walk())
    workers = [view for view in everybody if view.counters is not None]

    def gauge(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["actor"])
        for path, value in values:
            family.add_metric([path], value)
        return family

    def counter(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
        family = _counter(name, text, ["actor"])
        for path, value in values:
            family.add_metric([path], value)
        return family

    yield gauge("tickloom_actor_up", "Whether the actor is alive.", ((v.path, v.alive) for v in everybody))
    yield counter("tickloom_actor_restarts", "Restarts.", ((v.path, v.restarts) for v in everybody))
    yield counter("tickloom_actor_failures", "Failures of any kind.", ((v.path, v.failures) for v in workers))
    yield counter("tickloom_actor_messages", "Messages handled.", ((v.path, v.handled) for v in workers))
    yield counter("tickloom_actor_batches", "Batches handled.", ((v.path, v.batches) for v in workers))
    yield counter("tickloom_actor_busy_seconds", "Time in handlers.", ((v.path, v.busy) for v in workers))
    yield gauge("tickloom_actor_slowest_batch_seconds", "Longest batch.", ((v.path, v.slowest) for v in workers))
    yield counter(
        "tickloom_actor_quarantined_messages", "Messages put aside.", ((v.path, v.quarantined) for v in workers)
    )
    resources = GaugeMetricFamily(
        "tickloom_actor_resources", "What an actor holds of the machine, by kind.", labels=["actor", "kind"]
    )
    for view in everybody:
        for kind, count in sorted(view.holds.items()):
            resources.add_metric([view.path, kind], count)
    yield resources
    yield gauge("tickloom_mailbox_depth", "Messages queued.", ((v.path, v.depth) for v in workers))
    yield gauge("tickloom_mailbox_high_water", "Most messages ever queued.", ((v.path, v.high_water) for v in workers))
    yield gauge("tickloom_mailbox_capacity", "Bound of the mailbox.", ((v.path, v.capacity) for v in workers))
    weighed = [(v.path, v.counters) for v in workers if v.counters is not None and v.counters.max_bytes is not None]
    yield gauge("tickloom_mailbox_bytes", "What is queued weighs.", ((path, c.bytes) for path, c in weighed))
    bound = ((path, c.max_bytes or 0) for path, c in weighed)
    yield gauge("tickloom_mailbox_capacity_bytes", "Bound of the mailbox in bytes.", bound)
    outcomes = _counter("tickloom_mailbox_messages", "What became of messages.", ["actor", "outcome"])
    letters = _counter("tickloom_dead_letters", "Messages that reached nobody, by reason.", ["actor", "reason"])
    for view in workers:
        for outcome, count in lane(view).items():
            outcomes.add_metric([view.path, outcome], count)
        for reason, count in sorted((view.dead_letters or {}).items()):
            letters.add_metric([view.path, reason], count)
    yield outcomes
    yield letters
    breakers = {view.path: view.breaker for view in workers if view.breaker is not None}
    yield _one_of("tickloom_breaker_state", "1 for the state the breaker is in.", "state", breakers, BREAKERS)


def _counter(name: str, text: str, labels: list[str] | None = None, value: float | None = None) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=labels, value=value)


def _by_contract(name: str, text: str, values: Mapping[str, float], scale: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["contract"])
    for contract, value in sorted(values.items()):
        family.add_metric([contract], value * scale)
    return family


def _one_of(name: str, text: str, label: str, states: Mapping[str, str], known: tuple[str, ...]) -> Metric:
    """Return a family with 1 for the state that holds and 0 for the others; a key of "" means no actor label."""
    named = "" not in states
    family = GaugeMetricFamily(name, text, labels=["actor", label] if named else [label])
    for path, state in states.items():
        for each in known:
            family.add_metric([path, each] if named else [each], each == state)
    return family
