"""Account events of a recorded log: the same typed messages, in the same order, as the session's subscribers got."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.accounts import AccountEvent, account_events


def recorded_account_events(
    log: str | Path, account: int | None = None, *, from_ns: int | None = None, to_ns: int | None = None
) -> Iterator[AccountEvent]:
    """Yield what a log holds of accounts, in order, without building a bar.

    Args:
        log: its folder, or one segment.
        account: of which account alone; None: of all.
        from_ns, to_ns: receipt stamps (ns UTC) between which to read.

    Raises:
        NoLog: there is no log at that place.
        DamagedLog: it does not read back; everything before the damage was yielded.
    """
    with LogReader(log) as reader:
        for numbered in reader.items(from_ns=from_ns, to_ns=to_ns):
            for event in account_events(numbered):
                if account is None or event.account in (None, account):
                    yield event
