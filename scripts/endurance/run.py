"""Runs a session against the real gateway while everything goes wrong in turn, then holds it to account.

The session is an ordinary one, with a log; the gateway's tokens live seconds and end their connections. At the end the
log is compared with what the gateway says it delivered, tick by tick (`judge`), the bars with plain arithmetic on that,
the account events with theirs (`accounts`), and a replay of the log with the session.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

import tickloom
from tickloom.messages.market import NS
from tickloom.scripts.endurance.accounts import AccountVerdict, downs, judge_accounts
from tickloom.scripts.endurance.aspnet import Aspnet
from tickloom.scripts.endurance.evidence import PLANNED, Logged, read_log, read_truth
from tickloom.scripts.endurance.judge import BarVerdict, Runs, Verdict, judge, judge_bars
from tickloom.scripts.endurance.plan import Faults, Step, schedule

CONTRACTS: Final = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.CLE.F26")
WIDTHS: Final = {"1s": NS, "5s": 5 * NS, "1m": 60 * NS}
ACCOUNTS: Final = (1001, 1002)
USER_EVENT_MS: Final = 50
TOKEN_S: Final = 10
RENEWALS_A_MINUTE: Final = 3.0
"""Fewer renewals than this a minute are no test of renewals."""

POLL_S: Final = 20.0
"""The gateway remembers its last 200 connections: what they were sent is collected so often."""

NEAR_NS: Final = 10 * NS
"""A gap has a fault within itself or so shortly before it; others came of themselves, and must not be."""


class Failed(AssertionError):
    """Something that must hold does not. The sentence says what."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    seconds: float
    ticks: int
    ticks_per_second: float
    missing: int
    gaps: int
    gap_s: float
    needless: int
    renewals: dict[str, int]
    links_lost: dict[str, int]
    faults: dict[str, int]
    repeated: int
    logins: int
    bars: int
    bars_in_gaps: int
    bars_healed: int
    account_events: int
    account_events_missed: int
    p50_ms: float | None
    p99_ms: float | None
    cpu_s: float
    rss_mb: int
    digest: str
    contracts: dict[str, Verdict]
    accounts: AccountVerdict


class _Sent:
    """What each connection was sent, by contract; a connection's later report replaces its earlier one."""

    def __init__(self, gateway: Aspnet) -> None:
        self._gateway = gateway
        self._runs: dict[str, dict[str, Runs]] = {contract: {} for contract in CONTRACTS}

    def collect(self) -> None:
        for contract, runs in self._runs.items():
            for each in self._gateway.get("/truth/sent", contract=contract):
                if each["sent"]["runs"]:
                    runs[each["connection"]] = each["sent"]["runs"]

    def of(self, contract: str) -> list[Runs]:
        return list(self._runs[contract].values())


def run(
    seconds: float,
    folder: Path,
    *,
    rate: float,
    faults: Faults,
    seed: int = 1,
    stateful: bool = False,
    progress: Callable[[str], None] = lambda words: None,
) -> Report:
    """Run it, and return what it came to.

    Raises:
        Failed: something does not hold.
        NoGateway: there is nothing to run against.
    """
    settings = {
        "TICK_RATE": f"{rate:g}",
        "TOKEN_TTL_S": TOKEN_S,
        "CLOSE_ON_EXPIRATION": 1,
        "USER_EVENT_MS": USER_EVENT_MS,
        "HISTORY_S": 3600,
        "RATE_LIMIT": 0,
        "STATEFUL_RECONNECT": int(stateful),
    }
    with Aspnet(**settings) as gateway:
        sent, log, began = _Sent(gateway), folder / "log", time.monotonic()
        with _session(gateway.url, log) as session:
            steps, done = schedule(seconds, faults, seed), []
            try:
                done = _play(steps, seconds, gateway, sent, session, progress)
            finally:
                for contract in CONTRACTS:
                    session.unsubscribe(contract)
                sent.collect()
            health = session.health()
            summary = session.stop()
            tables = {
                (contract, frame): _rows(session.table(contract, frame)) for contract in CONTRACTS for frame in WIDTHS
            }
        took = time.monotonic() - began
        progress("comparing with the truth")
        logged = read_log(log)
        verdicts, bars = _judge(gateway, sent, logged, tables)
        info = gateway.get("/truth/info")
        truth = [
            (info["start_ns"] + line["n"] * USER_EVENT_MS * 1_000_000, line["target"], line["payload"])
            for line in gateway.lines("/truth/user")
        ]
        accounts = judge_accounts(logged.events, truth, downs(logged.links, PLANNED))
        counts, tokens = gateway.counts, gateway.tokens_from
    renewals = {hub: len(logged.ended(hub, planned=True)) for hub in ("market", "user")}
    report = Report(
        seconds=round(took, 1),
        ticks=summary.ticks,
        ticks_per_second=round(summary.ticks / seconds, 1),
        missing=sum(each.missing for each in verdicts.values()),
        gaps=len(logged.gaps),
        gap_s=round(sum(each.gap_s for each in verdicts.values()), 3),
        needless=sum(each.needless for each in verdicts.values()),
        renewals=renewals,
        links_lost={hub: len(logged.ended(hub, planned=False)) for hub in ("market", "user")},
        faults=dict(Counter(step.what for _, step in done if step.what != "mode")),
        repeated=logged.malformed["overlap"],
        logins=counts["login ok"],
        bars=sum(each.bars for each in bars),
        bars_in_gaps=sum(each.in_gaps for each in bars),
        bars_healed=sum(each.healed for each in bars),
        account_events=accounts.held,
        account_events_missed=accounts.missed,
        p50_ms=summary.p50_ms,
        p99_ms=summary.p99_ms,
        cpu_s=round(time.process_time(), 1),
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        digest=summary.digest,
        contracts=verdicts,
        accounts=accounts,
    )
    progress(msgspec.json.encode(report).decode())
    _hold(health.links.get("market") == "up", f"at the end the market link is {health.links.get('market')}")
    _hold(summary.lost == 0, f"{summary.lost} prints were lost between receipt and bars")
    _hold(set(tokens) == {"header"}, f"the token travelled in {dict(tokens)}, not in the header alone")
    _hold_ticks(verdicts, logged, done)
    _hold_bars(bars)
    _hold(accounts.right, f"account events: {accounts}")
    least = int(RENEWALS_A_MINUTE * seconds / 60)
    _hold(renewals["market"] >= least, f"{renewals['market']} renewals of the market link, and {least} are wanted")
    again = tickloom.replay(log, verify=True)
    _hold(again.digest == summary.digest, "a replay of the log has other bars than the session had")
    left = [each.name for each in threading.enumerate() if each.name.startswith("tickloom")]
    _hold(not left, f"threads are left behind: {', '.join(left)}")
    return report


def _session(url: str, log: Path) -> tickloom.Session:
    return tickloom.Session(
        {
            "gateway.api_url": url,
            "gateway.market_hub_url": f"{url}/hubs/market",
            "gateway.user_hub_url": f"{url}/hubs/user",
            "gateway.accounts": ",".join(map(str, ACCOUNTS)),
            "gateway.reconnect_cap_s": 2.0,
            "session.contracts": ",".join(CONTRACTS),
            "session.timeframes": ",".join(WIDTHS),
            "recorder.dir": str(log),
            "health.token_s": 0,
        },
        credentials=tickloom.Credentials("tester", tickloom.Secret("test-key"), "the gateway's default"),
    )


def _play(
    steps: Sequence[Step],
    seconds: float,
    gateway: Aspnet,
    sent: _Sent,
    session: tickloom.Session,
    progress: Callable[[str], None],
) -> list[tuple[int, Step]]:
    """Set the switches when their time has come; return each with its moment (ns)."""
    began, polled = time.monotonic(), time.monotonic()
    waiting, done = list(steps), []
    pause = threading.Event()  # nobody sets it: a wait that signals do not cut short
    while (at := time.monotonic() - began) < seconds:
        if session.feed_lost is not None:
            raise Failed(f"after {at:.0f} s the feed is lost for good: {session.feed_lost}")
        while waiting and waiting[0].at_s <= at:
            step = waiting.pop(0)
            done.append((time.time_ns(), step))
            gateway.chaos(**step.switches)
            progress(f"{at:6.1f} s  {session.statistics().ticks:>10,} ticks  {step.what}: {step.switches}")
        if time.monotonic() - polled > POLL_S:
            sent.collect()
            polled = time.monotonic()
        until = min(seconds, waiting[0].at_s if waiting else seconds, at + 1.0)
        pause.wait(max(until - at, 0.01))
    return done


def _rows(table: Any) -> list[dict[str, Any]]:
    opened = table.column("open_time").cast("int64").to_pylist()
    return [{**row, "open_time": at} for row, at in zip(table.to_pylist(), opened, strict=True)]


def _judge(
    gateway: Aspnet, sent: _Sent, logged: Logged, tables: dict[tuple[str, str], list[dict[str, Any]]]
) -> tuple[dict[str, Verdict], list[BarVerdict]]:
    verdicts, bars = {}, []
    for contract in CONTRACTS:
        truth = read_truth(gateway, contract, sent.of(contract))
        held = logged.held[contract]
        gaps = [(gap.from_ns, gap.to_ns) for gap in logged.gaps if gap.contract == contract]
        verdicts[contract] = judge(truth, held, sent.of(contract), gaps)
        for frame, width in WIDTHS.items():
            bars.append(judge_bars(tables[contract, frame], truth, held, sent.of(contract), gaps, width))
    return verdicts, bars


def _hold_ticks(verdicts: dict[str, Verdict], logged: Logged, done: Sequence[tuple[int, Step]]) -> None:
    for contract, verdict in verdicts.items():
        _hold(verdict.right, f"{contract}: {verdict}")
    moments = [at for at, step in done if step.what != "mode"]
    for gap in logged.gaps:
        provoked = any(gap.from_ns - NEAR_NS <= at <= gap.to_ns + NS for at in moments)
        _hold(provoked, f"a gap without a fault, from {gap.from_ns} to {gap.to_ns} of {gap.contract}: {gap.cause}")


def _hold_bars(bars: Sequence[BarVerdict]) -> None:
    for verdict in bars:
        _hold(not verdict.wrong, f"{verdict.wrong} of {verdict.bars} bars are wrong: {verdict.example}")
        _hold(
            not verdict.unflagged, f"{verdict.unflagged} of {verdict.bars} bars are flagged wrongly: {verdict.example}"
        )


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)
