"""Comparing frames with columns: a column at a time, and row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.decode import Decoder
from tickloom.errors import LogDamagedError
from tickloom.messages.control import Disconnected, Subscribed
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.verifying import Verifier, rows, same

CONTRACT = "CON.F.US.MNQ.Z25"
INSTRUMENT = Instrument(CONTRACT, 1, 4)

row = st.tuples(
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 0.25]),
    st.integers(0, 2),
    st.integers(0, 1),
)


def prints(values: list[tuple], contracts: tuple[str, ...], *, arrays: bool) -> Prints | None:
    if not values:
        return None
    columns = [list(column) for column in zip(*values, strict=True)]
    if arrays:
        columns = [np.array(column) for column in columns]
    return Prints(contracts, *columns, list(range(len(values))), 0)


@given(st.lists(row, max_size=4), st.lists(row, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_a_column_at_a_time_says_what_row_by_row_says(one, other, equal, arrays, turned):
    first = prints(one, ("A", "B"), arrays=arrays)
    second = prints(one if equal else other, ("B", "A") if turned else ("A", "B"), arrays=not arrays)
    by_row = [rows(Frames("market/1", [], [], None, batch)) for batch in (first, second)]
    assert same(first, second) == (by_row[0] == by_row[1])


def trade(number: int) -> bytes:
    second, price = number % 60, 21_000 + number
    print_ = f'{{"price":{price},"timestamp":"2026-01-02T03:04:{second:02}Z","type":0,"volume":1}}'
    return f'{{"type":1,"target":"GatewayTrade","arguments":["{CONTRACT}",[{print_}]]}}\x1e'.encode()


class Story:
    """A log of market connections, as the verifier reads it."""

    def __init__(self) -> None:
        self.items: list[Numbered] = []
        self.seq = 1
        self.recorder = Decoder()

    def add(self, item: Any) -> None:
        self.items.append(Numbered(self.seq, item))
        self.seq += len(item) if isinstance(item, Frames) else 1

    def subscribed(self, connection: int, at_s: int) -> None:
        self.add(
            Subscribed(recv_ns=at_s * NS, hub="market", connection=connection, contract=CONTRACT, instrument=INSTRUMENT)
        )

    def gone(self, connection: int, at_s: int) -> None:
        self.add(Disconnected(recv_ns=at_s * NS, hub="market", connection=connection, cause="replaced"))

    def heard(self, connection: int, number: int, at_s: int, *, again: bool = False) -> None:
        """A print comes; `again`: it has come on the other connection, and is recorded only once."""
        keep: list[int] | None = [] if again else None
        columns = ([trade(number)], [at_s * NS], [0])
        self.add(self.recorder.decode(f"market/{connection}", *columns, admit=lambda prints: keep))

    def check(self) -> int:
        verifier = Verifier("log")
        assert list(verifier.check(self.items)) == self.items
        return verifier.frames


def test_renewals_close_upon_each_other_are_told_apart_from_a_changed_log():
    """The second handover begins while prints of the first may still come twice, and goes on after that time."""
    story = Story()
    story.subscribed(1, 0)
    story.heard(1, 1, 1)
    story.subscribed(2, 2)
    story.heard(1, 2, 2)
    story.heard(2, 2, 2, again=True)
    story.gone(1, 3)
    story.subscribed(3, 10)
    for number in range(3, 12):
        story.heard(2, number, 10 + number)
        story.heard(3, number, 10 + number, again=True)
    story.gone(2, 22)
    story.heard(3, 12, 50)
    assert story.check() == 22


def test_a_print_that_no_column_holds_is_found_in_an_overlap_and_without_one():
    for beside in (True, False):
        story = Story()
        story.subscribed(1, 0)
        if beside:
            story.subscribed(2, 1)
        story.heard(1, 1, 2, again=True)
        with pytest.raises(LogDamagedError, match="decode to other prints"):
            story.check()
