"""Health as one pure fold over what the others report: one word, and the reasons in words.

A condition has a severity and holds as long as its cause does; the status is the worst severity. To keep it from
flapping, a worse status shows at once and a better one only after `Limits.recover_ns` without the worse, but for
the first time the link comes up: starting is no illness. A contract is stale only while its calendar says the
market is open: closed is not stale. A delay is what is left when the offset of our clock is taken out (`delay`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from tickloom.actors.health import delay
from tickloom.messages.control import Beat
from tickloom.messages.market import NS
from tickloom.messages.reports import (
    ActorState,
    ClockState,
    FeedState,
    Health,
    HealthInput,
    LinkState,
    RecorderState,
    Report,
    Strain,
    TokenState,
)

Status: TypeAlias = Literal["healthy", "degraded", "unhealthy"]
_RANK: dict[Status, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}

SAMPLES = 32
"""Most totals of validation that are kept for the share of prints rejected."""

IsOpen: TypeAlias = Callable[[str, int], bool]
"""Whether the market of a contract is open at a time (ns)."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds. Staleness and recovery in ns; `token_ns` is the time left on the token that worries.

    Without `feed` neither silence nor delay of a contract is judged. `memory_high` and `memory_critical` are shares of
    the tightest bound on memory, `disk_bytes` what must be free, `reject_share` the share of the prints of `window_ns`
    that may be rejected, once there are `least_prints` of them.
    """

    stale_ns: int = 30 * NS
    delay_ns: int = 2 * NS
    recover_ns: int = 2 * NS
    token_ns: int = 300 * NS
    forget_ns: int = 10 * NS
    feed: bool = True
    memory_high: float = 0.85
    memory_critical: float = 0.95
    disk_bytes: int = 2**30
    reject_share: float = 0.01
    window_ns: int = 60 * NS
    least_prints: int = 100


class Rejects(msgspec.Struct, frozen=True):
    """Validation's totals at one time: prints received, and rejected by reason."""

    at_ns: int
    received: int
    rejected: dict[str, int]


class HealthState(msgspec.Struct, frozen=True):
    """Latest inputs by subject, the time of the last beat, and the verdict with since when it stands.

    `rejects` are validation's totals over the last window, at most `SAMPLES` of them, oldest first.
    """

    links: dict[str, LinkState] = {}
    feed: dict[str, tuple[int, int]] = {}
    token: TokenState | None = None
    recorder: RecorderState | None = None
    breakers: dict[str, ActorState] = {}
    failed: dict[str, tuple[int, str]] = {}
    strain: Strain | None = None
    rejects: tuple[Rejects, ...] = ()
    clock: ClockState | None = None
    differences: delay.Differences | None = None
    now_ns: int = 0
    status: Status = "healthy"
    since_ns: int = 0
    better_since_ns: int = 0
    ever_up: bool = False
    reasons: tuple[str, ...] = ()


class HealthFold:
    """The fold `(HealthState, [HealthInput | Beat]) -> (HealthState, [Health])`; a `Health` for each transition."""

    def __init__(self, limits: Limits, is_open: IsOpen) -> None:
        self.limits = limits
        self.is_open = is_open

    def initial(self) -> HealthState:
        """Nothing known, nothing wrong."""
        return HealthState()

    def step(self, state: HealthState, messages: Sequence[HealthInput | Beat]) -> tuple[HealthState, list[Health]]:
        """Fold inputs in order, then judge once."""
        links, feed = dict(state.links), dict(state.feed)
        breakers, failed = dict(state.breakers), dict(state.failed)
        token, recorder, now = state.token, state.recorder, state.now_ns
        strain, rejects = state.strain, state.rejects
        clock, differences = state.clock, state.differences
        for message in messages:
            match message:
                case Beat():
                    now = max(now, message.recv_ns)
                case LinkState():
                    links[message.hub] = message
                case FeedState():
                    for contract, newest, recv in message.contracts:
                        if newest != recv and feed.get(contract) != (newest, recv):  # else nothing has come of it
                            differences = delay.seen(differences, recv - newest, now)
                        feed[contract] = (newest, recv)
                case ClockState():
                    clock = message
                case TokenState():
                    token = message
                case RecorderState():
                    recorder = message
                case Strain():
                    strain = message
                case Report():
                    rejects = self._sampled(rejects, message, now)
                case ActorState(path, what, detail):
                    if what in ("breaker_open", "breaker_half_open"):
                        breakers[path] = message
                    elif what == "breaker_closed":
                        breakers.pop(path, None)
                    elif what == "failed":
                        failed[path] = (now, detail)
                    elif what == "stopped":
                        breakers.pop(path, None)
                        failed.pop(path, None)
        failed = {p: f for p, f in failed.items() if now - f[0] < self.limits.forget_ns}
        after = msgspec.structs.replace(
            state,
            links=links,
            feed=feed,
            token=token,
            recorder=recorder,
            breakers=breakers,
            failed=failed,
            strain=strain,
            rejects=rejects,
            clock=clock,
            differences=differences,
            now_ns=now,
        )
        return self._judge(state, after)

    def split(self, messages: Sequence[object]) -> None:
        """Inputs are states, not deltas: a failing batch is dropped whole and the next one says it all again."""

    def _sampled(self, rejects: tuple[Rejects, ...], report: Report, now_ns: int) -> tuple[Rejects, ...]:
        """Return the totals of the last window with those of a report of validation."""
        counters = report.counters
        if "received" not in counters or not now_ns:
            return rejects
        by_reason = {name.removeprefix("rejected_"): n for name, n in counters.items() if name.startswith("rejected_")}
        latest = Rejects(now_ns, counters["received"], by_reason)
        if rejects and latest.received < rejects[-1].received:
            return (latest,)  # it has begun anew
        if len(rejects) > 1 and now_ns - rejects[-2].at_ns < 2 * self.limits.window_ns // SAMPLES:
            rejects = rejects[:-1]  # the last one stands for its stretch, and is brought up to date
        kept = [each for each in rejects if now_ns - each.at_ns <= self.limits.window_ns]
        return (*(kept or rejects[-1:])[-SAMPLES + 1 :], latest)

    def _judge(self, before: HealthState, state: HealthState) -> tuple[HealthState, list[Health]]:
        worst: Status = "healthy"
        conditions = list(self._conditions(state))
        for severity, _ in conditions:
            if _RANK[severity] > _RANK[worst]:
                worst = severity
        reasons = tuple(reason for _, reason in conditions)
        now = state.now_ns
        if _RANK[worst] > _RANK[before.status]:
            verdict, since, better = worst, now, 0
        elif worst == before.status:
            verdict, since, better = worst, before.since_ns, 0
        else:
            better = before.better_since_ns or now
            if now - better >= self.limits.recover_ns or not before.ever_up:
                verdict, since, better = worst, now, 0
            else:
                verdict, since = before.status, before.since_ns
                reasons = reasons or before.reasons
        up = state.ever_up or any(link.state == "up" for link in state.links.values())
        after = msgspec.structs.replace(
            state, status=verdict, since_ns=since, better_since_ns=better, reasons=reasons, ever_up=up
        )
        return after, [self.view(after)] if verdict != before.status else []

    def _conditions(self, state: HealthState) -> list[tuple[Status, str]]:
        limits, now = self.limits, state.now_ns
        offset = delay.offset(state.differences, state.clock)
        found: list[tuple[Status, str]] = []
        for hub, link in sorted(state.links.items()):
            if link.state in ("down", "connecting"):
                found.append(("degraded", f"{hub} hub is {link.state}" + (f": {link.detail}" if link.detail else "")))
            elif link.state == "lost":
                found.append(("unhealthy", f"{hub} hub is lost for good: {link.detail}"))
        for contract, (newest, recv) in sorted(state.feed.items()) if limits.feed else ():
            silent = now - recv
            if silent > limits.stale_ns and self.is_open(contract, now):
                found.append(("degraded", f"{contract} has sent nothing for {silent // NS} s while its market is open"))
            elif recv - newest - offset > limits.delay_ns and silent <= limits.stale_ns:
                found.append(("degraded", f"{contract} arrives {(recv - newest - offset) / NS:.1f} s late"))
        if state.token is not None and state.token.expires_ns and now:
            left = state.token.expires_ns - now
            if left <= 0:
                found.append(("unhealthy", "the token has expired" + _why(state.token.detail)))
            elif left < limits.token_ns:
                found.append(("degraded", f"the token expires in {left // NS} s" + _why(state.token.detail)))
        if state.recorder is not None and not state.recorder.writing:
            found.append(("unhealthy", f"the log is not being written: {state.recorder.detail}"))
        for path, change in sorted(state.breakers.items()):
            word = "open" if change.state == "breaker_open" else "half open"
            found.append(("unhealthy", f"the breaker of {path} is {word}" + _why(change.detail)))
        found += [("degraded", f"{path} failed: {why}") for path, (_, why) in sorted(state.failed.items())]
        return found + self._of_strain(state) + self._of_rejects(state)

    def _of_strain(self, state: HealthState) -> list[tuple[Status, str]]:
        strain, limits = state.strain, self.limits
        if strain is None:
            return []
        found: list[tuple[Status, str]] = []
        if strain.memory is not None and strain.memory >= limits.memory_high:
            severity: Status = "unhealthy" if strain.memory >= limits.memory_critical else "degraded"
            found.append((severity, f"memory: {strain.memory_words} is used"))
        for path, seconds in sorted(strain.stuck.items()):
            if path not in state.breakers:
                found.append(("unhealthy", f"{path} has had messages waiting and has handled none for {seconds:.0f} s"))
        for path, words in sorted(strain.overflowing.items()):
            found.append(("degraded", f"the mailbox of {path} overflows: {words}"))
        for folder, free in sorted(strain.disk_free.items()):
            if free < limits.disk_bytes:
                severity = "unhealthy" if free < limits.disk_bytes // 8 else "degraded"
                found.append((severity, f"the disk under {folder} has {free // 2**20:,} MiB left"))
        return found

    def _of_rejects(self, state: HealthState) -> list[tuple[Status, str]]:
        if len(state.rejects) < 2:
            return []
        first, last = state.rejects[0], state.rejects[-1]
        prints = last.received - first.received
        by_reason = {reason: n - first.rejected.get(reason, 0) for reason, n in last.rejected.items()}
        rejected = sum(by_reason.values())
        if prints < self.limits.least_prints or rejected <= self.limits.reject_share * prints:
            return []
        most = max(by_reason, key=lambda reason: by_reason[reason])
        seconds = max((last.at_ns - first.at_ns) // NS, 1)
        words = f"{rejected / prints:.1%} of the prints of the last {seconds} s were rejected, most of them as {most}"
        return [("degraded", words)]

    def view(self, state: HealthState) -> Health:
        """Return the state as the value others see."""
        now = state.now_ns
        token = state.token
        offset = delay.offset(state.differences, state.clock)
        return Health(
            status=state.status,
            reasons=state.reasons,
            since_ns=state.since_ns,
            links={hub: link.state for hub, link in state.links.items()},
            staleness={c: max(now - recv, 0) / NS for c, (_, recv) in state.feed.items()},
            feed_delay_ms={c: (recv - newest - offset) / 1e6 for c, (newest, recv) in state.feed.items()},
            round_trip_ms={h: link.round_trip_ns / 1e6 for h, link in state.links.items() if link.round_trip_ns},
            clock_offset_ms=offset / 1e6,
            token_seconds=max(token.expires_ns - now, 0) / NS if token and token.expires_ns else None,
            memory=state.strain.memory if state.strain else None,
            disk_free=dict(state.strain.disk_free) if state.strain else {},
            yielding=state.strain.yielding if state.strain else (),
            missing=state.strain.missing if state.strain else (),
        )


def _why(detail: str) -> str:
    return f": {detail}" if detail else ""
