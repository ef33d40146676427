"""The group as a whole: which commands bring it nearer to where it should be. Looked at after every event.

Children start first to last and stop last to first, one at a time; under `one_for_one`, restarts do not wait for each
other.
"""

from __future__ import annotations

from tickloom.supervision.clocks import to_ns
from tickloom.supervision.errors import TreeStopped
from tickloom.supervision.exits import SHUTDOWN
from tickloom.supervision.lifecycle import LIVE, Move, Phase, Stage, Turn
from tickloom.supervision.orders import CancelTimer, Gone, NotUp, Reply, TimerKey
from tickloom.supervision.spec import Strategy
from tickloom.supervision.work import Work, timer

WAITING = (Phase.BACKOFF, Phase.OPEN)


def settle(work: Work) -> bool:
    """Give those commands. True when the group has just become complete for the first time."""
    match work.state.stage:
        case Stage.STOPPING:
            _stop(work)
        case Stage.STARTING:
            return _start(work)
        case Stage.RUNNING:
            _restart(work)
    return False


def _start(work: Work) -> bool:
    for child in work.state.children:
        if child.phase is Phase.STARTING:
            return False
        if child.phase is Phase.DOWN and child.died is None:
            work.start(child)
            return False
    return True


def _restart(work: Work) -> None:
    if work.state.strategy is Strategy.ONE_FOR_ONE:
        for child in work.state.children:
            if child.phase is Phase.DOWN:
                work.start(child)
        return
    going = [child for child in work.state.children if child.recycle and child.phase in LIVE]
    if going:
        if going[-1].phase is not Phase.STOPPING:
            limit = work.now + to_ns(going[-1].spec.stop_seconds)
            work.tell_to_stop(going[-1], "now", limit, final=False)
        return
    if work.state.strategy is Strategy.ONE_FOR_ALL and any(child.phase in WAITING for child in work.state.children):
        return
    for child in work.state.children:
        if child.phase is Phase.DOWN:
            work.start(child)
            return
        if child.phase is Phase.STARTING or child.phase in WAITING:
            return


def _stop(work: Work) -> None:
    state = work.state
    for child in state.children:
        if child.undrained and child.phase is Phase.DOWN and not state.hurried:
            work.start(work.change(child, undrained=False))  # it is needed until its turn comes
    state = work.state
    for child in reversed(state.children):
        if child.phase in LIVE:
            if child.phase is not Phase.STOPPING:
                work.tell_to_stop(child, state.mode, state.deadline_ns, final=state.final)
            if not state.hurried:
                return
        elif child.phase is Phase.BACKOFF:  # it crashed with something left to drain
            if not state.hurried:
                return
            work.say(CancelTimer(timer("wait", child)))
            work.give_up(work.move(child, Move.DUE))
    if any(child.phase in LIVE for child in work.state.children):
        return
    for child in work.state.children:
        if child.start_token is not None:
            error = TreeStopped(f"child {work.name(child.spec.id)}: its supervisor has stopped")
            work.say(Reply(child.start_token, error))
        if child.token is not None:
            work.say(Reply(child.token))  # what was to be stopped has stopped, with all the others
        work.change(child, start_token=None, token=None)
    work.say(CancelTimer(TimerKey("hurry", "", 0)))
    work.turn(Turn.EMPTY)
    exit_ = work.state.exit or SHUTDOWN
    work.say(NotUp(exit_) if work.state.failed else Gone(exit_))
