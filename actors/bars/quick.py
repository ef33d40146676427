"""The step that nearly every live batch is: trades that fall into bars which are open, and nothing closes.

`follow` does that and nothing else, in a third of the time; where anything else may have to happen it says so by
returning None, and the weaver does it all. What it returns is what the weaver would: a property test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tickloom.actors.bars.deltas import merge
from tickloom.actors.bars.state import ContractState, Live, Weaving
from tickloom.messages.bars import Bar, Delta, Reduced


def follow(
    weaving: Weaving, contracts: Mapping[str, ContractState], beat: int, message: Reduced, *, updates: bool
) -> tuple[dict[str, ContractState], int, list[Bar]] | None:
    """Return contracts and last beat after a message, and the open bars it changed; None: this is not that step.

    Raises:
        BarOverflowError: a bar's notional would leave int64.
    """
    if message.columns or message.marks or message.holds or message.stop:
        return None
    if message.beat > beat:
        beat = message.beat
        due = beat - weaving.grace_ns
        for state in contracts.values():
            if state.due <= due:
                return None
    lives: dict[str, Live] = {}
    for row in message.rows:
        name = row.contract
        live = lives.get(name)
        if live is None:
            known = contracts.get(name)
            if known is None or known.marks or len(known.open) != 1:
                return None
            (live,) = known.open.values()
        if row.late or not live.delta.bucket <= row.bucket < live.close_time:
            return None
        lives[name] = Live(merge(live.delta, row), live.close_time)
    after = dict(contracts)
    newest_of = dict(message.watermarks)
    for name in lives.keys() | newest_of.keys():
        known = after.get(name)
        if known is None:
            return None
        newest = max(known.newest, newest_of.get(name, known.newest))
        watermark = newest if newest > beat else beat
        if known.due + weaving.grace_ns <= watermark:
            return None
        if known.fixed <= min(newest - weaving.grace_ns - weaving.lateness_ns, known.hold):
            return None
        live = lives.get(name)
        opened = known.open if live is None else {live.delta.bucket: live}
        after[name] = ContractState(
            newest,
            opened,
            known.closed,
            known.marks,
            known.due,
            known.fixed,
            known.floor,
            known.price,
            known.chain,
            known.hold,
        )
    return after, beat, [_open(weaving.timeframe, live) for live in lives.values()] if updates else []


def _open(timeframe: str, live: Live) -> Bar:
    delta: Delta = live.delta
    return Bar(
        delta.contract,
        timeframe,
        delta.bucket,
        live.close_time,
        delta.open,
        delta.high,
        delta.low,
        delta.close,
        delta.volume,
        delta.trades,
        delta.notional,
        delta.buy,
        delta.sell,
        0,
        delta.flags,
        False,
    )
