"""What is noted in the log of prints that were refused."""

from __future__ import annotations

from tickloom.actors.notes import MOST_TICKS, notes_of
from tickloom.messages.control import Quarantined, Rejects
from tickloom.messages.market import Reject
from tickloom.messages.reports import Withheld


def reject(tick: int, reason: str = "size", contract: str = "A", **more: bool) -> Reject:
    return Reject(contract, tick, 5, 1.0, 0, 0, reason, f"about {reason}", **more)


def test_a_note_for_each_reason_and_contract_with_the_numbers_of_the_prints() -> None:
    notes = notes_of([reject(1), reject(2, "jump"), reject(4), reject(5, contract="B")], 9)
    assert notes == [
        Rejects(recv_ns=9, reason="size", contract="A", ticks=(1, 4), detail="about size"),
        Rejects(recv_ns=9, reason="jump", contract="A", ticks=(2,), detail="about jump"),
        Rejects(recv_ns=9, reason="size", contract="B", ticks=(5,), detail="about size"),
    ]


def test_what_a_dry_run_let_pass_is_no_reject() -> None:
    assert notes_of([reject(1, passed=True)], 9) == []


def test_prints_on_which_an_actor_failed_are_noted_with_the_reason() -> None:
    (note,) = notes_of([Withheld("/pipeline/finest", 3, "ValueError: no")], 9)
    assert note == Quarantined(
        recv_ns=9, actor="/pipeline/finest", reason="ValueError: no (3 prints)", contract="", ticks=()
    )


def test_many_rejects_take_several_notes() -> None:
    notes = notes_of([reject(tick) for tick in range(MOST_TICKS + 1)], 9)
    assert [len(note.ticks) for note in notes] == [MOST_TICKS, 1]
