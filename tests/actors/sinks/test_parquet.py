"""What the Parquet sink lets go, and by which names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec.structs import replace

from tickloom.actors.sinks.parquet import File, Flush, ParquetFold
from tickloom.messages.bars import Bar, Bars
from tickloom.messages.market import NS, Instrument, Reject

MNQ = Instrument("CON.F.US.MNQ.Z25", 1, 4)
T0 = 1_763_990_000 * NS


def settled(*starts: int, timeframe: str = "1t", numbers: Sequence[int] = ()) -> Bars:
    """Final bars that begin so many ns after `T0`."""
    bars = [Bar(MNQ.contract, timeframe, T0 + at, T0 + at, 1, 1, 1, 1, 1, 1, 1, 0, 0) for at in starts]
    bars = [replace(bar, number=number) for bar, number in zip(bars, numbers or [0] * len(bars), strict=True)]
    return Bars(timeframe, 0, settled=tuple(bars))


def rejected(tick: int) -> Reject:
    return Reject(MNQ.contract, tick, T0, 1.0, 0, 0, "size_zero", "")


def rows(file: File) -> list[int]:
    return [bar.open_time - T0 for bar in file.bars if isinstance(bar, Bar)] + [each.tick for each in file.rejects]


def test_files_that_begin_in_one_second_have_names_of_their_own_in_the_order_of_time() -> None:
    fold = ParquetFold("17", roll_rows=2, roll_ns=10**18)
    state, files = fold.initial(), list[File]()
    for first in range(0, 1200, 2):
        state, more = fold.step(state, [MNQ, settled(first, first + 1), rejected(first), rejected(first + 1)])
        files += more
    state, last = fold.step(state, [settled(2 * NS), rejected(2 * NS), Flush()])
    files += last
    for folder, own in itertools.groupby(sorted(files, key=lambda file: file.folder), key=lambda file: file.folder):
        by_name = {file.name: rows(file) for file in own}
        assert [row for name in sorted(by_name) for row in by_name[name]] == [*range(1200), 2 * NS], folder
    assert {file.name.removesuffix(".parquet").rpartition("-")[2] for file in files} == {"17"}


def test_a_step_that_is_done_again_lets_the_same_files_go() -> None:
    fold = ParquetFold("17", roll_rows=2, roll_ns=10**18)
    state, _ = fold.step(fold.initial(), [MNQ, settled(0, 1)])
    again = [settled(2, 3), settled(4, 5, timeframe="1v"), rejected(1), Flush()]
    assert fold.step(state, again) == fold.step(state, again)


def test_bars_by_activity_are_in_a_file_in_the_order_in_which_they_closed() -> None:
    fold = ParquetFold("17", roll_rows=100, roll_ns=10**18)
    _, (file,) = fold.step(fold.initial(), [MNQ, settled(5, 5, 3, 4, numbers=(1, 2, 3, 4)), Flush()])
    assert rows(file) == [5, 5, 3, 4]
