from __future__ import annotations

from tickloom.actors.recorder.units import Totals, Units, table_of, totals_of, unit_of
from tickloom.actors.recorder.wire import Unit
from tickloom.messages.records import BatchNote

UNITS = [
    Unit(64, 2000, BatchNote("", 0, 9, 7, 8, (1, 8), (5, 60), 40, 1, 0, 2, dense=False)),
    Unit(2064, 1000, BatchNote("", 1, 3, 3, 0, (9, 11), (4, 7), None, 0, 0, 0, dense=True)),
]


def test_a_unit_reads_back_from_its_row():
    assert [unit_of(row) for row in table_of(UNITS)] == UNITS


def test_totals_are_those_of_all_units():
    assert totals_of(table_of(UNITS)) == Totals(
        units=2, rows=12, frames=10, prints=8, controls=1, records=0, extras=2, first_seq=1, last_seq=11, least_ns=4,
        greatest_ns=60, next_tick=48,
    )  # fmt: skip
    assert totals_of(table_of([])) == Totals()


def test_a_table_is_loaded_once_and_again_after_it_was_let_go():
    loads = []
    units = Units(None, lambda: loads.append(1) or table_of(UNITS))
    assert units.table is units.table
    units.let_go()
    assert len(units.table) == 2
    assert len(loads) == 2


def test_a_table_that_cannot_be_had_again_stays():
    units = Units(table_of(UNITS))
    units.let_go()
    assert len(units.table) == 2
