"""Each of the thirteen answers can be taken out alone, and all together: the session runs, and its bars are right."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import tickloom
from tickloom.actors.bars.reduce import ReduceFold
from tickloom.actors.shell import RoutedActor, Whole
from tickloom.config.fields import fields_of
from tickloom.config.flags import FlagsSettings
from tickloom.config.settings import Settings
from tickloom.relief import policy_of
from tickloom.scripts.emulator import Emulator
from tickloom.supervision import ChildSpec, Policy, SupervisorSpec, Tree
from tickloom.supervision.testing import Dispatcher
from tickloom.wiring import LARGEST_SIZE, ROW_BY_ROW, Wires, reduce_fold, rules_of, tree_spec, validation_fold

MNQ = "CON.F.US.MNQ.Z25"
FLAGS = tuple(field.name for field in fields_of(FlagsSettings))
CASES = [(name,) for name in FLAGS] + [FLAGS]
Make = Callable[..., tickloom.Session]


def without(*names: str) -> Settings:
    return Settings(flags=FlagsSettings(**dict.fromkeys(names, False)))


@pytest.mark.parametrize("off", CASES, ids=lambda names: names[0] if len(names) == 1 else "all")
def test_a_session_without_it_runs_and_its_bars_are_those_of_a_session_with_everything(
    make_session: Make, tmp_path: Path, off: Sequence[str]
) -> None:
    out = tmp_path / "out"
    with make_session(
        sinks__out=str(out), http__enabled=True, http__port=0, **{f"flags__{n}": False for n in off}
    ) as session:
        for bar, _ in zip(session.bars(MNQ, "1s"), range(2), strict=False):
            assert bar.trades
        assert session.health().status != "unhealthy"
        assert session.statistics().ticks > 0
        assert session.dashboard is not None
        with urllib.request.urlopen(session.dashboard.partition("/?")[0] + "/metrics", timeout=10) as answer:
            assert b"tickloom_ticks_total" in answer.read()
    summary = session.summary
    assert summary is not None
    assert summary.ticks > 100
    assert (summary.lost, summary.quarantined, summary.restarts, summary.rejected) == (0, 0, 0, 0)
    assert list(out.rglob("*.parquet"))
    as_recorded = tickloom.replay(tmp_path / "log")
    assert as_recorded.digest == summary.digest
    everything = session.settings.replace(flags=FlagsSettings())
    assert tickloom.replay(tmp_path / "log", settings=everything).digest == summary.digest


# --- what each of them does ------------------------------------------------------------------------------------------


def test_without_seamless_renewal_a_renewed_token_costs_a_gap_and_nothing_else(tmp_path: Path) -> None:
    key = "a key for the test"
    options = ["--steady", "--no-rate-limits", "--token-ttl", "3"]
    with Emulator((MNQ,), rate=300, user="tester", key=key, options=options) as emulator:
        config: dict[str, Any] = {
            "gateway.api_url": emulator.api_url,
            "gateway.market_hub_url": emulator.market_hub_url,
            "gateway.user_hub_url": emulator.user_hub_url,
            "gateway.reconnect_base_s": 0.05,
            "session.contracts": (MNQ,),
            "session.timeframes": "1s",
            "recorder.dir": str(tmp_path / "log"),
            "flags.seamless_renewal": False,
        }
        credentials = tickloom.Credentials("tester", tickloom.Secret(key), "the test")
        with tickloom.Session(config, credentials=credentials) as session:
            stream = session.bars(MNQ, "1s")
            for _ in range(6):
                next(stream)
    assert session.summary is not None
    assert session.summary.gaps >= 1, "the time between the two connections"
    assert (session.summary.lost, session.summary.restarts) == (0, 0)
    assert tickloom.replay(tmp_path / "log").digest == session.summary.digest


class Sum:
    """Adds numbers up; cannot take one above a hundred."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, messages: Sequence[int]) -> tuple[int, Sequence[Any]]:
        if max(messages) > 100:
            raise ValueError("too much")
        return state + sum(messages), ()

    def split(self, messages: Sequence[int]) -> tuple[Sequence[int], Sequence[int]] | None:
        middle = len(messages) // 2
        return (messages[:middle], messages[middle:]) if middle else None


@pytest.mark.parametrize(("fold", "total", "aside"), [(Sum(), 6, 1), (Whole(Sum()), 0, 4)])
def test_without_batch_bisection_a_batch_that_fails_is_put_aside_whole(fold: Any, total: int, aside: int) -> None:
    dispatcher = Dispatcher()
    spec = SupervisorSpec(children=(ChildSpec("sum", lambda c: RoutedActor(c, fold, {}, lambda state, _: state)),))
    tree: Tree = dispatcher.tree(spec)
    ref = tree.ref("/sum")
    for number in (1, 2, 101, 3):
        ref.put(number)
    tree.start()
    dispatcher.run()
    assert (ref.ask("total", 1.0), tree.snapshot().find("/sum").quarantined) == (total, aside)
    tree.stop("now")


def specs_of(settings: Settings) -> dict[str, ChildSpec]:
    """The workers of a replay's tree by path."""

    def walk(spec: SupervisorSpec, above: str) -> dict[str, ChildSpec]:
        found: dict[str, ChildSpec] = {}
        for child in spec.children:
            path = f"{above}/{child.id}"
            found |= walk(child.start, path) if isinstance(child.start, SupervisorSpec) else {path: child}
        return found

    return walk(tree_spec(Wires(settings=settings, session="s")), "")


def test_without_exact_conflation_a_full_timeframe_mailbox_holds_its_sender_back() -> None:
    path = "/pipeline/bars/1m"
    assert specs_of(Settings())[path].mailbox.policy is Policy.CONFLATE
    assert specs_of(without("exact_conflation"))[path].mailbox.policy is Policy.BLOCK


def test_without_circuit_breakers_no_actor_has_one() -> None:
    assert all(spec.breaker is not None for spec in specs_of(Settings()).values())
    assert all(spec.breaker is None for spec in specs_of(without("circuit_breaker")).values())


def test_without_batch_draining_an_actor_takes_one_message_at_a_time() -> None:
    assert {spec.max_batch for spec in specs_of(Settings()).values()} == {4096}
    assert {spec.max_batch for spec in specs_of(without("batch_draining")).values()} == {1}


def test_without_bounded_statistics_nobody_keeps_any_and_the_summary_s_counters_are_all_there_is(
    make_session: Make,
) -> None:
    assert "/observers/statistics" not in specs_of(without("bounded_statistics"))
    with make_session(flags__bounded_statistics=False) as session:
        next(session.bars(MNQ, "1s"))
        said = session.statistics()
    assert said.ticks > 0
    assert (said.counters, said.gauges, said.latency_by_source) == ({}, {}, {})
    assert session.summary is not None
    assert session.summary.p99_ms is None, "no latency is measured"


def test_without_validation_only_prints_of_which_there_is_no_bar_are_refused() -> None:
    rules = rules_of(without("validation"))
    assert (rules.confirm, rules.max_size, rules.zero_size, rules.dry_run) == (1, LARGEST_SIZE, "accept", False)
    assert rules.band_ticks > rules_of(Settings()).band_ticks * 10**6
    assert rules.lateness_ns == rules_of(Settings()).lateness_ns, "a bar that is final stays so"


def test_without_columns_every_batch_takes_the_way_row_by_row() -> None:
    settings = without("columnar")
    reduce = reduce_fold(settings)
    assert isinstance(reduce, ReduceFold)
    assert {validation_fold(settings).vector_rows, reduce.vector_rows, reduce.column_rows} == {ROW_BY_ROW}


def test_without_dynamic_limits_pressure_is_watched_and_nothing_is_moved() -> None:
    policy = policy_of(without("dynamic_limits"))
    assert (policy.most_squeezed, policy.most_stretched, policy.order) == (0, 0, ())
    assert policy_of(Settings()).most_squeezed == 4
