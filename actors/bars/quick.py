"""The step that nearly every live batch is: trades that fall into bars which are open, and nothing closes.

`follow` does that and nothing else, in a third of the time; where anything else may have to happen it says so by
returning None, and the weaver does it all. What it returns is what the weaver would: a property test compares them.

That nothing closes or settles is asked once, at the end: time only goes forward within a step, and no bar is opened
here, so what is not due then was not due before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tickloom.actors.bars.deltas import merge
from tickloom.actors.bars.state import ContractState, Live, Weaving
from tickloom.messages.bars import Bar, BarFlag, Reduced

_REVISED = int(BarFlag.REVISED)


class _Contract:
    """A contract that the step touches."""

    __slots__ = ("known", "newest", "open", "touched")

    def __init__(self, known: ContractState) -> None:
        self.known = known
        self.newest = known.newest
        self.open = known.open
        self.touched: list[int] = []


def follow(
    weaving: Weaving, contracts: Mapping[str, ContractState], beat: int, messages: Sequence[Reduced]
) -> tuple[dict[str, ContractState], int, dict[str, list[int]]] | None:
    """Return contracts and last beat after some messages, and the open bars they changed, as open times by contract;
    None: this is not that step.

    Raises:
        BarOverflowError: a bar's notional would leave int64.
    """
    changed: dict[str, _Contract] = {}
    time = beat
    for message in messages:
        if message.columns or message.marks or message.holds or message.stop:
            return None
        if message.beat > time:
            time = message.beat
        for row in message.rows:
            name = row.contract
            contract = changed.get(name)
            if contract is None:
                if name not in contracts:
                    return None
                contract = changed[name] = _Contract(contracts[name])
            if row.late:
                return None
            bucket = row.bucket
            for start, live in contract.open.items():
                if start <= bucket < live.close_time:
                    break
            else:
                return None
            if not contract.touched:
                contract.open = contract.open.copy()
            if start not in contract.touched:
                contract.touched.append(start)
            contract.open[start] = Live(merge(live.delta, row), live.close_time, live.revision)
        for name, newest in message.watermarks:
            contract = changed.get(name)
            if contract is None:
                if name not in contracts:
                    return None
                contract = changed[name] = _Contract(contracts[name])
            if newest > contract.newest:
                contract.newest = newest
    grace, wait = weaving.grace_ns, weaving.grace_ns + weaving.lateness_ns
    if time > beat:
        due = time - grace
        for known in contracts.values():
            if known.due <= due:
                return None
    after = dict(contracts)
    touched: dict[str, list[int]] = {}
    for name, contract in changed.items():
        known, newest = contract.known, contract.newest
        if known.due + grace <= (newest if newest > time else time):
            return None
        if known.fixed <= newest - wait and known.fixed <= known.hold:
            return None
        after[name] = ContractState(
            newest,
            contract.open,
            known.closed,
            known.marks,
            known.due,
            known.fixed,
            known.floor,
            known.price,
            known.chain,
            known.hold,
        )
        if contract.touched:
            touched[name] = contract.touched
    return after, time, touched


def opened(weaving: Weaving, known: ContractState, live: Live) -> Bar:
    """Return an open bar as the outside sees it, with the flags of its contract's marks."""
    delta, end = live.delta, live.close_time
    flags = delta.flags | _REVISED if live.revision else delta.flags
    if known.marks:
        final = end + weaving.grace_ns + weaving.lateness_ns
        for mark in known.marks:
            if mark.from_ns < end and mark.to_ns > delta.bucket and mark.known < final:
                flags |= mark.flag
    return Bar(
        delta.contract,
        weaving.timeframe,
        delta.bucket,
        end,
        delta.open,
        delta.high,
        delta.low,
        delta.close,
        delta.volume,
        delta.trades,
        delta.notional,
        delta.buy,
        delta.sell,
        live.revision,
        flags,
        False,
    )
