"""Every error that supervision raises. Nothing here acts; each class says when it is raised and by whom."""

from __future__ import annotations


class SupervisionError(Exception):
    """Base of the errors below, but not of `Interrupted` and `Fenced`, which no handler should swallow."""


class SpecError(SupervisionError, ValueError):
    """A specification is wrong. The sentence names the child (or supervisor) and the field."""


class StartError(SupervisionError):
    """A child failed to start. The sentence names it; `__cause__` is what it raised, when it raised."""


class NoSuchPlace(SupervisionError, LookupError):
    """No child has this path."""


class AlreadyStarted(SupervisionError):
    """A child with this id is in place and runs (or is being restarted)."""


class AlreadyPresent(SupervisionError):
    """A child with this id is in place but does not run: restart it, or delete it first."""


class ChildRunning(SupervisionError):
    """The child runs, or is coming back, so it can be neither deleted nor restarted by hand: terminate it first."""


class TreeStopped(SupervisionError):
    """The tree has not been started, or has been stopped, and cannot do what was asked of it."""


class ActorDead(SupervisionError):
    """The asked actor is dead for good: it was stopped, or its tree was. Asking again is pointless."""


class AskTimeout(SupervisionError, TimeoutError):
    """No reply within the time given, which counts from the call: queueing is included."""


class BreakerOpen(SupervisionError):
    """The asked actor's circuit breaker is open, or half-open with its probe taken. It was not called."""


class Unhandled(SupervisionError):
    """The asked actor has no handler for this message. The message is a dead letter; the actor lives on."""


class AskRefused(SupervisionError):
    """Raise (a subclass of) this in `on_control` to answer an ask with an error on purpose: no crash, no failure."""


class Declined(SupervisionError):
    """Raise this in a start function or in `on_start` to decline: the spec is kept, nothing runs (OTP's `ignore`)."""


class Interrupted(BaseException):
    """A blocked `put` was broken off because its actor must stop now. Let it pass: the actor ends in order.

    A BaseException for the reason CancelledError is one: `except Exception` around a `put` must not eat it.
    """


class Fenced(BaseException):
    """This incarnation overran and was replaced: what it still tries to commit, take or emit is refused."""
