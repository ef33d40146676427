"""One step of a supervisor's core in the making: the state as far as it has come, and the commands so far.

Mutable, and alive only during one call of `core.step`, which is why that is pure all the same. What is here is what
several kinds of events have in common: moving along the tables, starting one child, telling one to stop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tickloom.supervision.breaker import IllegalStep
from tickloom.supervision.clocks import to_ns
from tickloom.supervision.lifecycle import (
    CHILD_TRANSITIONS,
    SUPERVISOR_TRANSITIONS,
    Child,
    Move,
    Phase,
    SupervisorState,
    Turn,
)
from tickloom.supervision.orders import (
    CancelTimer,
    CloseChild,
    Command,
    ForgetChild,
    SetTimer,
    StartChild,
    StopChild,
    TimerKey,
)
from tickloom.supervision.spec import Restart

ORDERLY = 0.75
"""The share of its time in which a group stops one by one, and a child may drain. After it: all at once, and now."""


class Work:
    """A step in the making."""

    def __init__(self, state: SupervisorState, now_ns: int) -> None:
        self.state = state
        self.now = now_ns
        self.commands: list[Command] = []

    # --- looking ---

    def find(self, child_id: str) -> Child | None:
        """Return the child of this id, as it is now."""
        return next((child for child in self.state.children if child.spec.id == child_id), None)

    def name(self, child_id: str) -> str:
        """Return how an error names a child: by its path."""
        return f"{self.state.path.rstrip('/')}/{child_id}"

    def group_time(self) -> int:
        """Return how long the whole group may take to stop (ns): its slowest child, not the sum."""
        return max((to_ns(child.spec.stop_seconds) for child in self.state.children), default=0)

    # --- moving ---

    def say(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)

    def turn(self, turn: Turn, **changes: Any) -> None:
        """Move the supervisor along its table.

        Raises:
            IllegalStep: the table knows no such turn.
        """
        stage = SUPERVISOR_TRANSITIONS.get((self.state.stage, turn))
        if stage is None:
            raise IllegalStep(f"a supervisor that is {self.state.stage.value} cannot take {turn.value!r}")
        self.state = replace(self.state, stage=stage, **changes)

    def move(self, child: Child, move: Move, **changes: Any) -> Child:
        """Move a child along its table; returns it as it is now.

        Raises:
            IllegalStep: the table knows no such move.
        """
        phase = CHILD_TRANSITIONS.get((child.phase, move))
        if phase is None:
            raise IllegalStep(f"{self.name(child.spec.id)}, which is {child.phase.value}, cannot take {move.value!r}")
        return self.change(child, phase=phase, **changes)

    def change(self, child: Child, **changes: Any) -> Child:
        """Change what is known of a child; returns it as it is now."""
        changed = replace(child, **changes)
        children = tuple(changed if one.spec.id == child.spec.id else one for one in self.state.children)
        self.state = replace(self.state, children=children)
        return changed

    # --- doing ---

    def start(self, child: Child) -> Child:
        """Bring up the next incarnation of a child that is down."""
        child = self.move(child, Move.START, epoch=child.epoch + 1)
        self.say(StartChild(child.spec, child.epoch))
        if not child.spec.is_supervisor:  # a supervisor's children each have a limit of their own
            limit = self.now + to_ns(child.spec.start_timeout)
            self.say(SetTimer(timer("start", child), limit))
        return child

    def tell_to_stop(self, child: Child, mode: str, deadline_ns: int, *, final: bool) -> None:
        """Tell a live child to stop within its shutdown time and by the deadline, whichever comes first."""
        limit = min(deadline_ns, self.now + to_ns(child.spec.stop_seconds))
        if child.phase is Phase.STOPPING:
            limit = min(limit, child.stop_by_ns)
            self.change(child, stop_mode=mode, stop_by_ns=limit)
        else:
            self.move(child, Move.STOP, stop_mode=mode, stop_by_ns=limit, undrained=False)
        self.say(CancelTimer(timer("start", child)))
        self.say(StopChild(child.spec.id, child.epoch, mode, limit, final))
        self.say(SetTimer(timer("stop", child), limit))
        if mode == "drain":
            press = self.now + int(max(limit - self.now, 0) * ORDERLY)
            self.say(SetTimer(timer("press", child), press))

    def stop_group(self, mode: str, deadline_ns: int, *, final: bool) -> None:
        """Have the whole group stop by the deadline; the stage is STOPPING already."""
        again = self.state.deadline_ns != 0
        self.state = replace(self.state, mode=mode, deadline_ns=max(deadline_ns, 1), final=final)
        left = max(deadline_ns - self.now, 0)
        self.say(SetTimer(TimerKey("hurry", "", 0), self.now + int(left * ORDERLY)))
        for child in self.state.children:
            if child.phase is Phase.STOPPING:
                if again:
                    self.tell_to_stop(child, mode, deadline_ns, final=final)
                elif not child.unwanted:
                    self.change(child, undrained=mode == "drain")
            elif child.phase is Phase.OPEN:
                self.say(CancelTimer(timer("wait", child)))
                self.give_up(self.move(child, Move.DUE))
            elif child.phase is Phase.BACKOFF:
                self.say(CancelTimer(timer("wait", child)))
                self.move(child, Move.DUE, undrained=mode == "drain")
            elif child.phase is Phase.DOWN and child.epoch:
                self.change(child, undrained=mode == "drain", died=None)

    def give_up(self, child: Child) -> None:
        """Leave a child that is down as it is, while the group stops; for good, its place closes now."""
        self.change(child, undrained=False)
        if self.state.final:
            self.say(CloseChild(child.spec.id, "stopped"))

    def park(self, child: Child, why: str) -> None:
        """Let nothing run at this place, until it is started by hand; a temporary child's spec goes."""
        child = self.move(child, Move.PARK, recycle=False, unwanted=False, attempt=-1)
        self.say(CloseChild(child.spec.id, why))
        if child.spec.restart is Restart.TEMPORARY:
            self.forget(child)

    def forget(self, child: Child) -> None:
        """Remove a child that does not run, spec and all."""
        children = tuple(other for other in self.state.children if other.spec.id != child.spec.id)
        self.state = replace(self.state, children=children)
        self.say(ForgetChild(child.spec.id))


def timer(purpose: str, child: Child) -> TimerKey:
    """Return the key of one of a child's timers."""
    return TimerKey(purpose, child.spec.id, child.epoch)
