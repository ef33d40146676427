"""Comparing frames with columns: a column at a time, and row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickloom
from tickloom.actors.connection.decode import Decoder
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.errors import LogDamagedError
from tickloom.messages.control import Connected, Disconnected, SessionStarted, SessionStopped, Subscribed
from tickloom.messages.intake import Frames, Numbered, received
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

    def started(self, at_s: int) -> None:
        self.add(
            SessionStarted(
                recv_ns=at_s * NS, version="1", settings={}, instruments=(INSTRUMENT,), timeframes=("1s",), calendars={}
            )
        )

    def subscribed(self, connection: int, at_s: int) -> None:
        self.add(
            Subscribed(recv_ns=at_s * NS, hub="market", connection=connection, contract=CONTRACT, instrument=INSTRUMENT)
        )
        self.add(Connected(recv_ns=at_s * NS, hub="market", connection=connection))

    def gone(self, connection: int, at_s: int) -> None:
        self.add(Disconnected(recv_ns=at_s * NS, hub="market", connection=connection, cause="replaced"))

    def heard(self, connection: int, number: int, at_s: int, *, again: bool = False) -> None:
        """A print comes; `again`: it has come on the other connection, and is recorded only once."""
        keep: list[int] | None = [] if again else None
        columns = ([trade(number)], [at_s * NS], [0])
        self.add(self.recorder.decode(f"market/{connection}", *columns, admit=lambda prints: keep))

    def check(self, from_s: int = 0) -> int:
        """Verify what was received from a second on, as a replay from there does."""
        at = next(i for i, n in enumerate(self.items) if received(n, 0) >= from_s * NS)
        before = Context(n.item for n in self.items[:at] if not isinstance(n.item, Frames)).records()
        verifier = Verifier("log", before)
        assert list(verifier.check(self.items[at:])) == self.items[at:]
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


@pytest.fixture
def renewed() -> Story:
    """A session whose connection is replaced at second 102, handed over until 104, and compared with a while longer."""
    story = Story()
    story.started(0)
    story.subscribed(1, 0)
    for at in range(1, 102):
        story.heard(1, at, at)
    story.subscribed(2, 102)
    story.heard(1, 102, 102)
    story.heard(1, 103, 103)
    story.heard(2, 102, 103, again=True)
    story.gone(1, 104)
    story.heard(2, 103, 105, again=True)
    for at in range(105, 160):
        story.heard(2, at, at)
    return story


@pytest.mark.parametrize("from_s", [0, 50, 102, 103, 104, 105, 106, 150])
def test_from_wherever_a_log_with_a_renewal_is_verified_it_is_whole(renewed: Story, from_s: int) -> None:
    assert renewed.check(from_s) == sum(
        len(n.item) for n in renewed.items if isinstance(n.item, Frames) and received(n, 0) >= from_s * NS
    )


def test_a_replay_that_begins_before_a_renewal_verifies_and_so_does_a_log_whose_beginning_was_removed(
    renewed: Story, tmp_path: Path
) -> None:
    renewed.add(SessionStopped(recv_ns=160 * NS))
    with LogWriter(tmp_path / "log", session="renewed", options=LogOptions(batch_rows=8, segment_bytes=9000)) as writer:
        for item in renewed.items:
            writer.append([item], 0)
    part = tickloom.replay(tmp_path / "log", verify=True, from_ns=90 * NS)
    assert part.verified is not None
    assert part.verified.frames == 12 + 4 + 55
    segments = sorted((tmp_path / "log").glob("*.arrows"))
    assert len(segments) > 2
    segments[0].unlink()
    left = tickloom.replay(tmp_path / "log", verify=True)
    assert left.verified is not None
    assert left.verified.frames > part.verified.frames


def test_begun_within_a_handover_a_column_that_no_frame_holds_is_found_and_after_it_one_that_is_missing() -> None:
    story = Story()
    story.subscribed(1, 0)
    story.subscribed(2, 100)
    story.heard(2, 1, 103)
    frames = story.items[-1].item
    assert isinstance(frames, Frames)
    story.items[-1] = Numbered(story.items[-1].seq, msgspec.structs.replace(frames, payloads=[trade(2)]))
    with pytest.raises(LogDamagedError, match="while a connection was replaced"):
        story.check(103)
    story = Story()
    story.subscribed(1, 0)
    story.subscribed(2, 100)
    story.gone(1, 102)
    story.heard(2, 1, 200, again=True)
    with pytest.raises(LogDamagedError, match="from number"):
        story.check(103)


def test_a_session_that_goes_on_after_a_kill_is_compared_frame_by_frame_again() -> None:
    story = Story()
    story.started(0)
    story.subscribed(1, 0)
    story.subscribed(2, 100)
    story.heard(1, 1, 101)
    story.heard(2, 1, 101, again=True)  # killed here: neither connection is said to have gone
    story.started(110)
    story.subscribed(1, 111)
    story.heard(1, 2, 112)
    assert story.check() == 3
    story.heard(1, 3, 113, again=True)
    with pytest.raises(LogDamagedError, match="from number"):
        story.check()
