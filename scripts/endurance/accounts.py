"""The user hub's events against the truth: what was sent while the link was up is held, once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tickloom.messages.control import Connected, Disconnected
from tickloom.messages.projectx import ACCOUNT

SLACK_NS = 1_000_000_000
"""An event due so shortly before a link ended, or after the next one was up, may have been sent to nobody."""


class AccountVerdict(msgspec.Struct, frozen=True):
    """What became of the events: how many were due, are held, were due while the link was up and are not held
    (`lost`), are held more often than they were sent (`doubled`), are none that were sent (`alien`), and were due while
    the link was down (`missed`).
    """

    due: int
    held: int
    lost: int
    doubled: int
    alien: int
    missed: int

    @property
    def right(self) -> bool:
        """Whether none is lost, doubled or made up."""
        return not (self.lost or self.doubled or self.alien)


def downs(links: Sequence[Connected | Disconnected], planned: str) -> list[tuple[int, int]]:
    """Return the stretches in which the user hub's link was not up, from its own records (ns), with some slack."""
    found: list[tuple[int, int]] = []
    since: int | None = 0
    for each in links:
        if each.hub != "user":
            continue
        if isinstance(each, Connected):
            if since is not None:
                found.append((since, each.recv_ns + SLACK_NS))
            since = None
        elif not each.cause.startswith(planned):
            since = each.recv_ns - SLACK_NS
    if since is not None:
        found.append((since, 2**63 - 1))
    return found


def judge_accounts(
    events: Iterable[tuple[int, str, bytes]],
    truth: Iterable[tuple[int, str, Any]],
    down: Sequence[tuple[int, int]],
) -> AccountVerdict:
    """Compare the events held with those that were due.

    Args:
        events: (receipt, target, JSON) as the log has them.
        truth: (due, target, payload) as the gateway has them; wrapped payloads are taken out of their wrapper.
        down: when the link was down.
    """
    held: Counter[tuple[str, bytes]] = Counter()
    for _, target, data in events:
        held[target, _canonical(msgspec.json.decode(data))] += 1
    wanted: Counter[tuple[str, bytes]] = Counter()
    required: Counter[tuple[str, bytes]] = Counter()
    due = missed = 0
    for due_ns, target, payload in truth:
        body = payload["data"] if isinstance(payload, dict) and payload.keys() == {"action", "data"} else payload
        key = (target, _canonical(body))
        due += 1
        wanted[key] += 1
        if any(start <= due_ns < end for start, end in down):
            missed += 1
        else:
            required[key] += 1
    trades = {key: count for key, count in held.items() if key[0] != ACCOUNT}  # an account is said again at every link
    return AccountVerdict(
        due=due,
        held=held.total(),
        lost=sum(max(count - held[key], 0) for key, count in required.items() if key[0] != ACCOUNT),
        doubled=sum(max(count - wanted[key], 0) for key, count in trades.items() if key in wanted),
        alien=sum(count for key, count in trades.items() if key not in wanted),
        missed=missed,
    )


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
