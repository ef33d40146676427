"""How an incarnation ended. A value, compared and matched; the rules that use it are in `core`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ExitKind(Enum):
    """The kinds of exit that restart types tell apart (OTP: normal, shutdown, anything else, killed)."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    CRASH = "crash"
    OVERRUN = "overrun"


@dataclass(frozen=True, slots=True)
class Exit:
    """Why an incarnation ended. `cause` is the exception of a crash; `detail` a sentence for people."""

    kind: ExitKind
    cause: BaseException | None = None
    detail: str = ""

    @property
    def abnormal(self) -> bool:
        """Whether a `transient` child comes back after it."""
        return self.kind in (ExitKind.CRASH, ExitKind.OVERRUN)

    def __str__(self) -> str:
        what = f"{type(self.cause).__name__}: {self.cause}" if self.cause is not None else self.detail
        return f"{self.kind.value} ({what})" if what else self.kind.value


NORMAL = Exit(ExitKind.NORMAL)
SHUTDOWN = Exit(ExitKind.SHUTDOWN)
