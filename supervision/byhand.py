"""What is done to children by hand while the supervisor runs: add, terminate, revive, delete. The rules are OTP's."""

from __future__ import annotations

from dataclasses import replace

from tickloom.supervision.breaker import new_breaker
from tickloom.supervision.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildRunning,
    NoSuchPlace,
    SpecError,
    StartError,
    TreeStopped,
)
from tickloom.supervision.lifecycle import LIVE, Child, Move, Phase, Stage
from tickloom.supervision.orders import Add, CancelTimer, Delete, Reply, Revive, Terminate
from tickloom.supervision.spec import ChildSpec, check_significant
from tickloom.supervision.work import Work, timer


def new_child(spec: ChildSpec, epoch: int) -> Child:
    """Return a child that has not been started; `epoch` is the last one used at its place."""
    return Child(spec, epoch=epoch, breaker=new_breaker(spec.breaker) if spec.breaker is not None else None)


def add(work: Work, event: Add) -> None:
    """Add a child; the group starts it."""
    child = work.find(event.spec.id)
    name = work.name(event.spec.id)
    error: Exception | None = None
    if child is not None:
        kind = AlreadyPresent if child.phase is Phase.PARKED else AlreadyStarted
        error = kind(f"child {name} is there already: {child.phase.value}")
    elif work.state.stage is not Stage.RUNNING:
        error = TreeStopped(f"child {name}: its supervisor is {work.state.stage.value}")
    else:
        try:
            check_significant(event.spec, work.state.auto_shutdown)
        except SpecError as wrong:
            error = wrong
    if error is not None:
        work.say(Reply(event.token, error))
        return
    added = replace(new_child(event.spec, 0), start_token=event.token)
    work.state = replace(work.state, children=(*work.state.children, added))


def terminate(work: Work, event: Terminate) -> None:
    """Stop a child for good; when it is down (and, if so asked, its queue empty), it is parked."""
    child = work.find(event.id)
    name = work.name(event.id)
    if child is None:
        work.say(Reply(event.token, NoSuchPlace(f"there is no child {name}")))
        return
    if child.phase is Phase.PARKED:
        work.say(Reply(event.token))
        return
    if child.token is not None:
        work.say(Reply(child.token, ChildRunning(f"child {name}: another terminate took over")))
        child = work.change(child, token=None)
    if child.phase in LIVE:
        child = work.change(child, unwanted=True, token=event.token)
        work.tell_to_stop(child, event.mode, event.deadline_ns, final=True)
    else:
        _terminate_down(work, event, child)


def _terminate_down(work: Work, event: Terminate, child: Child) -> None:
    was_open = child.phase is Phase.OPEN
    if child.phase is not Phase.DOWN:
        work.say(CancelTimer(timer("wait", child)))
        work.say(CancelTimer(timer("stop", child)))
        child = work.move(child, Move.DUE)
    if child.start_token is not None:
        error = StartError(f"child {work.name(event.id)} was terminated before it was up")
        work.say(Reply(child.start_token, error))
    child = work.change(child, died=None, start_token=None)
    if event.mode == "drain" and child.epoch and not was_open and work.state.stage is Stage.RUNNING:
        child = work.start(work.change(child, unwanted=True, token=event.token))
        work.tell_to_stop(child, "drain", event.deadline_ns, final=True)
        return
    work.park(child, "terminated")
    work.say(Reply(event.token))


def revive(work: Work, event: Revive) -> None:
    """Have a parked child started again, with a clean record."""
    child = work.find(event.id)
    name = work.name(event.id)
    if child is None:
        work.say(Reply(event.token, NoSuchPlace(f"there is no child {name}")))
    elif child.phase is not Phase.PARKED:
        work.say(Reply(event.token, ChildRunning(f"child {name} is {child.phase.value}, not terminated")))
    elif work.state.stage is not Stage.RUNNING:
        error = TreeStopped(f"child {name}: its supervisor is {work.state.stage.value}")
        work.say(Reply(event.token, error))
    else:
        fresh = new_child(child.spec, child.epoch)
        work.move(child, Move.REVIVE, start_token=event.token, attempt=-1, breaker=fresh.breaker)


def delete(work: Work, event: Delete) -> None:
    """Remove a parked child."""
    child = work.find(event.id)
    name = work.name(event.id)
    if child is None:
        work.say(Reply(event.token, NoSuchPlace(f"there is no child {name}")))
    elif child.phase is not Phase.PARKED:
        work.say(Reply(event.token, ChildRunning(f"child {name} is {child.phase.value}: terminate it first")))
    else:
        work.forget(child)
        work.say(Reply(event.token))
