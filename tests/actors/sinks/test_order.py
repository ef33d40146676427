"""What a timeframe says at once may be blocks with bars between them: every reader gets them in order of open time."""

from __future__ import annotations

from tickloom.actors.bars.blocks import block_of, rows_of
from tickloom.actors.publishing import Subscribe
from tickloom.actors.sinks.history import HistoryFold, table
from tickloom.actors.sinks.parquet import Flush, ParquetFold
from tickloom.actors.sinks.publisher import BarSubscription, PublisherActor
from tickloom.messages.bars import Bar, BarColumns, Bars
from tickloom.messages.market import NS, Instrument
from tickloom.supervision import ChildSpec, SupervisorSpec
from tickloom.supervision.testing import Dispatcher

A, B = Instrument("A", 1, 4), Instrument("B", 1, 4)
NUMBERS = list(range(12))


def bar(number: int, contract: str = "A") -> Bar:
    return Bar(contract, "1s", number * NS, number * NS + NS, 100, 101, 99, 100, 5, 2, 500, 3, 2, 0, 0, True)


def bars(contract: str = "A") -> tuple[tuple[Bar, ...], tuple[BarColumns, ...]]:
    """Bars 0, 4, 5, 9, 10 and 11 one by one, the others in two blocks."""
    row = [bar(number, contract) for number in NUMBERS]
    return (row[0], *row[4:6], *row[9:]), (block_of(row[1:4]), block_of(row[6:9]))


def mixed() -> Bars:
    (bare_a, blocks_a), (bare_b, blocks_b) = bars("A"), bars("B")
    bare = (*bare_a, *bare_b)
    return Bars("1s", 1, closed=bare, settled=bare, columns=(*blocks_a, *blocks_b))


def test_a_table_has_them_in_order() -> None:
    fold = HistoryFold(1000, 64 << 20)
    state, _ = fold.step(fold.initial(), [A, B, mixed()])
    for contract in "AB":
        times = table(state, contract, "1s")["open_time"].cast("int64").to_pylist()
        assert [ns // NS for ns in times] == NUMBERS


def test_a_file_has_them_in_order() -> None:
    fold = ParquetFold("s", 1000, 60 * NS)
    _, files = fold.step(fold.initial(), [A, B, mixed(), Flush()])
    found = {}
    for file in files:
        rows = [row for part in file.bars for row in (rows_of(part) if isinstance(part, BarColumns) else [part])]
        found[rows[0].contract] = [row.open_time // NS for row in rows]
    assert found == {"A": NUMBERS, "B": NUMBERS}


def test_a_subscriber_gets_them_in_order() -> None:
    dispatcher = Dispatcher(seed=1)
    tree = dispatcher.tree(SupervisorSpec(children=(ChildSpec("publisher", PublisherActor),)))
    tree.start()
    one, both = (BarSubscription(contract, "", partial=False, capacity=100) for contract in ("A", ""))
    for subscription in (one, both):
        tree.ref("/publisher").tell(Subscribe(subscription))
    dispatcher.run()
    tree.ref("/publisher").offer(mixed())
    dispatcher.run()
    assert [each.open_time // NS for each in one.mailbox.take_batch(100, timeout=0)] == NUMBERS
    seen = both.mailbox.take_batch(100, timeout=0)
    assert {name: [each.open_time // NS for each in seen if each.contract == name] for name in "AB"} == {
        "A": NUMBERS,
        "B": NUMBERS,
    }
    tree.stop("now")
