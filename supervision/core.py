"""What a supervisor decides: `(state, event, now) -> (state, commands)`. Pure; the tables are in `lifecycle`.

The rules are OTP's, with three additions. A crashed child waits out its backoff before it is started again; OTP would
start it at once. A child with a breaker does not count against the intensity: its failures open the breaker, which
keeps the child down for the reset time instead. A child that crashes while it drains comes up again, as often as its
budget allows, to finish.

Every decision follows one scheme. An event changes the children it is about (here, and in `byhand`); then `group`
looks at all of them and gives the commands that bring them nearer to where they should be.
"""

from __future__ import annotations

from dataclasses import replace

from tickloom.supervision.breaker import Breaker, BreakerEvent, IllegalStep, advance
from tickloom.supervision.byhand import add, delete, new_child, revive, terminate
from tickloom.supervision.clocks import to_ns
from tickloom.supervision.errors import StartError
from tickloom.supervision.exits import NORMAL, SHUTDOWN, Exit, ExitKind
from tickloom.supervision.group import settle
from tickloom.supervision.lifecycle import LIVE, Child, Move, Phase, Stage, SupervisorState, Turn
from tickloom.supervision.orders import (
    Add,
    Begin,
    CancelTimer,
    ChildDeclined,
    ChildExited,
    ChildFailed,
    ChildSucceeded,
    ChildUp,
    CloseChild,
    Command,
    Delete,
    Due,
    Exhausted,
    FenceChild,
    Halt,
    Input,
    Reply,
    Revive,
    SetBackoff,
    SetTimer,
    StopChild,
    Terminate,
    TimerKey,
    TurnBreaker,
    Up,
    WatchSuccess,
)
from tickloom.supervision.spec import AutoShutdown, Restart, Strategy, SupervisorSpec
from tickloom.supervision.work import Work, timer

__all__ = ["IllegalStep", "new_supervisor", "step"]


def new_supervisor(path: str, spec: SupervisorSpec, epochs: dict[str, int] | None = None) -> SupervisorState:
    """Return a supervisor that has not begun. `epochs` are the last used at the places of its children."""
    epochs = epochs or {}
    return SupervisorState(
        path,
        spec.strategy,
        spec.intensity,
        to_ns(spec.period),
        spec.auto_shutdown,
        tuple(new_child(child, epochs.get(child.id, 0)) for child in spec.children),
    )


def step(state: SupervisorState, event: Input, now_ns: int) -> tuple[SupervisorState, list[Command]]:
    """Return the supervisor after `event`, and what is to be done.

    Events about an incarnation that is not the child's present one change nothing.

    Raises:
        IllegalStep: the tables know no such move. `state` is a value, and as it was.
    """
    work = Work(state, now_ns)
    _take(work, event)
    if settle(work):
        _complete(work)
    return work.state, work.commands


def _take(work: Work, event: Input) -> None:
    match event:
        case Begin():
            work.turn(Turn.BEGIN)
        case Halt():
            _halt(work, event)
        case ChildUp():
            _up(work, event)
        case ChildDeclined() | ChildFailed() | ChildExited():
            _down(work, event)
        case ChildSucceeded():
            child = _current(work, event)
            if child is not None and child.phase is Phase.RUNNING:
                _succeeded(work, child)
        case Due():
            _due(work, event.key)
        case Add():
            add(work, event)
        case Terminate():
            terminate(work, event)
        case Revive():
            revive(work, event)
        case Delete():
            delete(work, event)


def _current(work: Work, event: ChildUp | ChildDeclined | ChildFailed | ChildExited | ChildSucceeded) -> Child | None:
    child = work.find(event.id)
    return child if child is not None and child.epoch == event.epoch and child.phase in LIVE else None


def _complete(work: Work) -> None:
    """The group is up for the first time; those that died meanwhile are dealt with now."""
    work.turn(Turn.UP)
    work.say(Up())
    for child in work.state.children:
        if child.died is not None and work.state.stage is Stage.RUNNING:
            _ended(work, work.change(child, died=None), child.died)
    settle(work)


def _halt(work: Work, event: Halt) -> None:
    if work.state.stage in (Stage.STARTING, Stage.RUNNING):
        work.turn(Turn.HALT, exit=SHUTDOWN)
        work.stop_group(event.mode, event.deadline_ns, final=event.final)
    elif work.state.stage is Stage.STOPPING:
        sooner = min(event.deadline_ns, work.state.deadline_ns)
        mode = "now" if "now" in (event.mode, work.state.mode) else "drain"
        work.stop_group(mode, sooner, final=event.final or work.state.final)


def _up(work: Work, event: ChildUp) -> None:
    child = _current(work, event)
    if child is None or child.phase is not Phase.STARTING:
        return
    work.say(CancelTimer(timer("start", child)))
    if child.start_token is not None:
        work.say(Reply(child.start_token))
    child = work.move(child, Move.UP, up_ns=work.now, start_token=None)
    if child.unwanted:
        work.tell_to_stop(child, "drain", child.stop_by_ns, final=True)
        return
    if child.breaker is not None and child.spec.breaker is not None:
        half_open = child.breaker.state is Breaker.HALF_OPEN
        if half_open:
            work.say(SetTimer(timer("probe", child), work.now + to_ns(child.spec.breaker.probe_time)))
        if half_open or child.breaker.failures:
            work.say(WatchSuccess(child.spec.id, child.epoch))


def _down(work: Work, event: ChildDeclined | ChildFailed | ChildExited) -> None:
    child = _current(work, event)
    if child is None:
        return
    was = child.phase
    for purpose in ("start", "stop", "press", "probe"):
        work.say(CancelTimer(timer(purpose, child)))
    if was is Phase.STOPPING or child.unwanted:
        move = Move.EXIT if isinstance(event, ChildExited) else Move.FAIL
        _stopped(work, work.move(child, move), NORMAL if isinstance(event, ChildDeclined) else event.exit)
    elif isinstance(event, ChildDeclined):
        _declined(work, child)
    elif isinstance(event, ChildFailed):
        _start_failed(work, work.move(child, Move.FAIL), event.exit)
    else:
        _ended(work, work.move(child, Move.EXIT), event.exit)


def _declined(work: Work, child: Child) -> None:
    token = child.start_token
    child = work.move(child, Move.DECLINE, start_token=None)
    work.say(CloseChild(child.spec.id, "declined to start"))
    if child.spec.restart is Restart.TEMPORARY:
        work.forget(child)
    if token is not None:
        work.say(Reply(token))


def _stopped(work: Work, child: Child, exit_: Exit) -> None:
    """A child that was told to stop is down."""
    in_time = child.stop_by_ns > work.now
    if exit_.kind is ExitKind.CRASH and child.stop_mode == "drain" and in_time and _bears_one_more(work, child):
        _come_up_again(work, child)
        if child.unwanted:
            work.say(SetTimer(timer("stop", child), child.stop_by_ns))
        return
    if child.start_token is not None:
        error = StartError(f"child {work.name(child.spec.id)} was stopped before it was up")
        work.say(Reply(child.start_token, error))
    token = child.token
    child = work.change(child, recycle=False, token=None, start_token=None)
    if child.unwanted:
        work.park(child, "terminated")
    elif work.state.stage is Stage.STOPPING and not child.undrained:
        work.give_up(child)
    if token is not None:
        work.say(Reply(token))


def _bears_one_more(work: Work, child: Child) -> bool:
    """Whether a child that crashed while it drained may come up once more."""
    limit = child.spec.breaker.max_failures - 1 if child.spec.breaker is not None else work.state.intensity
    return child.attempt + 1 < limit


def _come_up_again(work: Work, child: Child) -> None:
    """Have a child that crashed while its group drains, or it alone, come up after its backoff, to finish."""
    child = work.move(child, Move.DELAY, attempt=child.attempt + 1, undrained=True)
    work.say(SetBackoff(timer("wait", child), child.attempt))


def _start_failed(work: Work, child: Child, exit_: Exit) -> None:
    error = StartError(f"child {work.name(child.spec.id)} failed to start: {exit_}")
    error.__cause__ = exit_.cause
    if work.state.stage is Stage.STARTING:
        work.turn(Turn.FAIL, exit=Exit(ExitKind.CRASH, error), failed=True)
        work.stop_group("now", work.now + work.group_time(), final=False)
    elif child.start_token is not None:
        token = child.start_token
        child = work.change(child, start_token=None)
        if child.epoch == 1:
            work.forget(child)
        else:
            work.park(child, "failed to start")
        work.say(Reply(token, error))
    else:
        _ended(work, child, exit_)


def _ended(work: Work, child: Child, exit_: Exit) -> None:
    """A child that was not told to has gone down."""
    if work.state.stage is Stage.STARTING:
        work.change(child, died=exit_)
        return
    if work.state.stage is Stage.STOPPING:
        # its turn to stop had not come: while the group drains it comes up again, if its budget allows
        drain = work.state.mode == "drain" and not work.state.hurried and exit_.kind is ExitKind.CRASH
        if drain and _bears_one_more(work, child):
            _come_up_again(work, child)
        else:
            work.give_up(child)
        return
    restart = child.spec.restart
    if restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and exit_.abnormal):
        _restart(work, child, exit_)
        return
    work.park(child, str(exit_))
    if child.spec.significant:
        others = [other for other in work.state.children if other.spec.significant]
        if work.state.auto_shutdown is AutoShutdown.ANY or all(other.phase is Phase.PARKED for other in others):
            work.turn(Turn.AUTO, exit=SHUTDOWN)
            work.stop_group("now", work.now + work.group_time(), final=False)


def _restart(work: Work, child: Child, exit_: Exit) -> None:
    quiet = child.up_ns is not None and work.now - child.up_ns >= child.spec.backoff.quiet_ns
    child = work.change(child, attempt=0 if quiet else child.attempt + 1, up_ns=None)
    if child.breaker is not None and child.spec.breaker is not None:
        before = child.breaker
        after = advance(child.spec.breaker, before, BreakerEvent.FAILURE, work.now)
        child = work.change(child, breaker=after)
        if after.state is Breaker.OPEN:
            work.say(TurnBreaker(child.spec.id, child.epoch, before.state, after.state, str(exit_)))
            child = work.move(child, Move.TRIP)
            work.say(SetTimer(timer("wait", child), work.now + after.reset_ns))
    elif not _bear(work, child, exit_):
        return
    if child.phase is Phase.DOWN:
        child = work.move(child, Move.DELAY)
        work.say(SetBackoff(timer("wait", child), child.attempt))
    if work.state.strategy is not Strategy.ONE_FOR_ONE:
        reached = work.state.strategy is Strategy.ONE_FOR_ALL
        for other in work.state.children:
            if other.spec.id == child.spec.id:
                reached = True
            elif reached and other.phase in LIVE:
                # a temporary child goes down with the group and, as in OTP, does not come back with it
                work.change(other, recycle=True, unwanted=other.spec.restart is Restart.TEMPORARY)


def _bear(work: Work, child: Child, exit_: Exit) -> bool:
    """Count one more restart; False when it is one too many, and the supervisor gives up."""
    oldest = work.now - work.state.period_ns
    restarts = (*(at for at in work.state.restarts if at >= oldest), work.now)
    work.state = replace(work.state, restarts=restarts)
    if len(restarts) <= work.state.intensity:
        return True
    name = work.name(child.spec.id)
    work.say(Exhausted(child.spec.id))
    why = Exit(ExitKind.SHUTDOWN, exit_.cause, f"restart intensity exceeded by {name}: {exit_}")
    work.turn(Turn.EXHAUST, exit=why)
    work.stop_group("now", work.now + work.group_time(), final=False)
    return False


def _succeeded(work: Work, child: Child) -> None:
    if child.breaker is None or child.spec.breaker is None:
        return
    before = child.breaker
    after = advance(child.spec.breaker, before, BreakerEvent.SUCCESS, work.now)
    work.change(child, breaker=after)
    if before.state is not after.state:
        work.say(CancelTimer(timer("probe", child)))
        work.say(TurnBreaker(child.spec.id, child.epoch, before.state, after.state, "the probe succeeded"))


def _due(work: Work, key: TimerKey) -> None:
    if key.purpose == "hurry":
        if work.state.stage is Stage.STOPPING:
            work.state = replace(work.state, hurried=True)
        return
    child = work.find(key.id)
    if child is None or child.epoch != key.epoch:
        return
    spec = child.spec
    if key.purpose == "wait" and child.phase in (Phase.BACKOFF, Phase.OPEN):
        if child.phase is Phase.OPEN and child.breaker is not None and spec.breaker is not None:
            before = child.breaker
            after = advance(spec.breaker, before, BreakerEvent.RESET, work.now)
            child = work.change(child, breaker=after)
            work.say(TurnBreaker(spec.id, child.epoch, before.state, after.state, "the reset time is over"))
        work.move(child, Move.DUE)
    elif key.purpose == "probe" and child.phase is Phase.RUNNING:
        if child.breaker is not None and child.breaker.state is Breaker.HALF_OPEN:
            _succeeded(work, child)
    elif key.purpose == "start" and child.phase is Phase.STARTING:
        work.say(FenceChild(spec.id, child.epoch, "start"))
        child = work.move(child, Move.OVERRUN)
        late = Exit(ExitKind.OVERRUN, detail=f"was not up after {spec.start_timeout:g} s")
        (_stopped if child.unwanted else _start_failed)(work, child, late)
    elif key.purpose == "press" and child.phase is Phase.STOPPING:
        child = work.change(child, stop_mode="now")
        final = child.unwanted or work.state.final
        work.say(StopChild(spec.id, child.epoch, "now", child.stop_by_ns, final))
    elif key.purpose == "stop" and child.phase is Phase.BACKOFF and child.unwanted:
        work.say(CancelTimer(timer("wait", child)))
        _stopped(work, work.move(child, Move.DUE), SHUTDOWN)
    elif key.purpose == "stop" and child.phase is Phase.STOPPING:
        work.say(FenceChild(spec.id, child.epoch, "stop"))
        work.say(CancelTimer(timer("press", child)))
        child = work.move(child, Move.OVERRUN)
        _stopped(work, child, Exit(ExitKind.OVERRUN, detail="did not stop in time"))
