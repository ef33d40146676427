"""What a mailbox holds and hands over. Values and small records; nothing here acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Answer(Protocol):
    """Where the reply to an ask goes. Both methods say whether they came first; later ones change nothing."""

    @property
    def settled(self) -> bool:
        """Whether it was answered, or given up by the asker."""
        ...

    def set(self, value: Any) -> bool:
        """Answer with a value."""
        ...

    def fail(self, error: BaseException) -> bool:
        """Answer with an error, which the asker's call raises."""
        ...


@dataclass(slots=True)
class Control:
    """A message of the control lane; `answer` is set when it is an ask."""

    message: Any
    sender: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class CatchUp:
    """For an actor whose breaker closed, before any later data: the first message it missed."""

    first_missed: Any


@dataclass(slots=True)
class Batch:
    """Messages in the hands of the actor. It stays the place's until it was settled, whatever becomes of the actor.

    `first` is the number of the first message among all ever taken here (from 0); `attempts` counts the handlers
    begun on it.
    """

    messages: list[Any]
    senders: list[str]
    first: int
    attempts: int = 0


class Status(Enum):
    """What a poll found."""

    WORK = "work"
    IDLE = "idle"
    DRAINED = "drained"
    FENCED = "fenced"


@dataclass(slots=True, eq=False)
class Waiting:
    """A producer's message waiting for room. `outcome` is None until decided, under the mailbox's lock.

    Then it is "in", "off" (broken off: the caller keeps the message) or the reason of a refusal.
    """

    message: Any
    sender: str
    wake: Callable[[], object]
    outcome: str | None = None
