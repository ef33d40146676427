"""Files somebody else recorded become logs: the real ones, whole; and wrong ones are refused with their place."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

import tickloom
from tickloom.actors.recorder.errors import ImportFault, LogInUse
from tickloom.actors.recorder.importing import ticks as ticks_module
from tickloom.actors.recorder.importing.ticks import Product, import_ticks
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.segment import segments_in
from tickloom.actors.recorder.writer import LogWriter
from tickloom.messages.control import Beat, SessionStarted, SessionStopped
from tickloom.messages.intake import Frames
from tickloom.messages.market import NS, Side
from tickloom.messages.records import ControlRecord
from tickloom.scripts.output import sentence

DAY = 86_400 * NS
GOOD = "time,price,size,side\n2024-01-15 08:30:00.5,100.25,3,buy\n2024-01-15 08:30:01,100.50,1,S\n2024-01-15 08:30:01,100.25,2,\n"


# ------------------------------------------------------------------------------------------ real ticks


def zipped(path):
    """The rows of a Lean zip by tag, read with nothing of ours; the doubled last row is left out."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            day = datetime.strptime(name[:8], "%Y%m%d").replace(tzinfo=ZoneInfo("UTC"))
            rows = list(csv.reader(io.TextIOWrapper(archive.open(name))))
            yield name[:-4].rpartition("_")[2], int(day.timestamp()) * 1000, rows[:-1]


@pytest.fixture(scope="module")
def gold(data, tmp_path_factory):
    log = tmp_path_factory.mktemp("gold") / "log"
    days = [data / "gold-2013" / f"tick_201310{day}_trade.zip" for day in ("07", "08")]
    return days, log, import_ticks(days, log, "GC.{}", tick_size="0.1")


def test_both_days_of_gold_are_there_tick_for_tick(gold, prints):
    days, log, report = gold
    said: dict[str, list[tuple[int, float, int]]] = {}
    for day in days:
        for tag, midnight, rows in zipped(day):
            said.setdefault(f"GC.{tag}", []).extend(
                ((midnight + int(r[0])) * 1_000_000, float(r[1]), int(r[2])) for r in rows
            )
    found: dict[str, list[tuple[int, float, int]]] = {}
    for p in prints(log):
        found.setdefault(p.contract, []).append((p.ts_ns, p.price, p.size))
    assert found == said
    assert report.rows == {name: len(rows) for name, rows in said.items()}
    assert (report.dropped, report.off_grid, report.inferred) == (18, 0, ())
    assert any(p[2] == 0 for p in found["GC.201410"])


def test_minute_bars_of_the_imported_gold_are_quantconnects(gold, data):
    """The bars by polars, from the log's columns; the 21:00 hour differs by their session (see the data's manifest)."""
    _, log, _ = gold
    with LogReader(log) as reader:
        table = pa.Table.from_batches(reader.batches(["contract", "ts_ns", "price", "size", "kind"]))
    ticks = pl.from_arrow(table.filter(pa.compute.less(table["kind"], 3)))
    bars = ticks.group_by(pl.col("contract").cast(str), minute=pl.col("ts_ns") // (60 * NS), maintain_order=True).agg(
        o=pl.col("price").first(), h=pl.col("price").max(), l=pl.col("price").min(),
        c=pl.col("price").last(), v=pl.col("size").sum(),
    )  # fmt: skip
    ours = {(r[0], r[1]): r[2:] for r in bars.iter_rows()}
    theirs = {}
    for day in ("07", "08"):
        with zipfile.ZipFile(data / "gold-2013" / f"minute_201310{day}_trade.zip") as archive:
            for name in archive.namelist():
                midnight = int(datetime.strptime(name[:8], "%Y%m%d").replace(tzinfo=ZoneInfo("UTC")).timestamp()) // 60
                for r in csv.reader(io.TextIOWrapper(archive.open(name))):
                    key = (f"GC.{name[:-4].rpartition('_')[2]}", midnight + int(r[0]) // 60_000)
                    theirs[key] = (*map(float, r[1:5]), int(r[5]))
    assert len(theirs) > 2000
    assert ours == theirs


def test_the_log_of_gold_replays_in_order_of_receipt_and_ends_past_its_day(gold, records):
    _, log, report = gold
    found = records(log)
    start, *frames, beat, stop = found
    assert isinstance(start.record, SessionStarted)
    assert {i.contract: (i.numerator, i.denominator) for i in start.record.instruments} == dict.fromkeys(
        report.rows, (1, 10)
    )
    assert start.record.recv_ns % DAY == 0
    assert isinstance(beat.record, Beat)
    assert isinstance(stop.record, SessionStopped)
    assert beat.record.recv_ns == (report.last_ns // DAY + 1) * DAY + 60 * NS
    stamps = [r.recv_ns for r in frames]
    assert stamps == sorted(stamps)
    assert {r.source for r in frames} == {"import"}
    assert [p.tick for r in frames for p in r.prints] == list(range(len(frames)))


def test_one_contract_of_a_zip_can_be_chosen_by_its_name(data, tmp_path, prints):
    day = data / "gold-2013" / "tick_20131008_trade.zip"
    report = import_ticks(day, tmp_path / "log", "GC.201412")
    (said,) = [rows for tag, _, rows in zipped(day) if tag == "201412"]
    assert report.rows == {"GC.201412": len(said)}
    assert [p.price for p in prints(tmp_path / "log")] == [float(r[1]) for r in said]
    with pytest.raises(ImportFault, match=r"holds 8 files \(201310, .*name the contract so that it holds one of these"):
        import_ticks(day, tmp_path / "other", "GC")


def test_a_member_of_a_zip_is_chosen_by_its_whole_tag(tmp_path, prints):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b_2.csv", GOOD)
        archive.writestr("b_Z24.csv", GOOD)
    with pytest.raises(ImportFault, match=r"a\.zip: it holds 2 files \(2, Z24\): name the contract"):
        import_ticks(tmp_path / "a.zip", tmp_path / "log", "CON.F.US.EP.Z25")
    assert import_ticks(tmp_path / "a.zip", tmp_path / "log", "CON.F.US.EP.Z24").rows == {"CON.F.US.EP.Z24": 3}


@pytest.mark.parametrize("contract", ["X", "X.{}"])
def test_an_empty_zip_is_said_to_be_empty(tmp_path, contract):
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    with pytest.raises(ImportFault, match=r"a\.zip: there is nothing in it: name a zip with a file of ticks"):
        import_ticks(tmp_path / "a.zip", tmp_path / "log", contract)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(6, 1, r"a\.csv cannot be read \(.*encrypted"), (8, 99, r"a\.csv cannot be read \(.*compression")],
)
def test_a_zip_that_python_cannot_open_is_to_be_unpacked(tmp_path, offset, value, words):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", GOOD)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for head, at in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
        data[data.index(head) + at] = value
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ImportFault, match=words + ".*: unpack it and import the file"):
        import_ticks(tmp_path / "a.zip", tmp_path / "log", "X")


def test_es_is_there_tick_for_tick_in_chicago_time(data, tmp_path, prints):
    path = data / "es-2013" / "es_20130901_20130903.csv.gz"
    report = import_ticks(path, tmp_path / "log", "CON.F.US.EP.U13", timezone="America/Chicago")
    with gzip.open(path, "rt") as file:
        said = [
            (
                int(
                    datetime.fromisoformat(r["DateTime"]).replace(tzinfo=ZoneInfo("America/Chicago")).timestamp() * 1000
                    + 0.5
                )
                * 1_000_000,
                float(r["Price"]),
                int(r["Volume"]),
            )
            for r in csv.DictReader(file)
        ]
    assert [(p.ts_ns, p.price, p.size) for p in prints(tmp_path / "log")] == said
    assert (report.ticks, report.tick_size, report.inferred) == (
        200_000,
        {"CON.F.US.EP.U13": "0.25"},
        ("CON.F.US.EP.U13",),
    )
    assert (report.ambiguous, report.out_of_order) == (0, 0)


def test_bitcoin_is_there_trade_for_trade_with_both_clocks(data, tmp_path, records):
    path = data / "btcusdt-2024" / "btcusdt_20240808.gz"
    report = import_ticks(path, tmp_path / "log", "BTCUSDT")
    said = []
    with gzip.open(path, "rt") as file:
        for line in file:
            local, _, text = line.partition(" ")
            event = json.loads(text).get("data", {})
            if event.get("e") == "trade":
                side = Side.SELL if event["m"] else Side.BUY
                said.append(
                    (int(local), event["T"] * 1_000_000, float(event["p"]), round(float(event["q"]) * 1000), side)
                )
    found = [
        (r.recv_ns, p.ts_ns, p.price, p.size, p.side)
        for r in records(tmp_path / "log")
        for p in getattr(r, "prints", ())
    ]
    assert found == said
    assert len(said) == 21_313
    assert (report.size_step, report.tick_size) == ("0.001", {"BTCUSDT": "0.1"})
    assert sum(report.skipped.values()) + len(said) == 93_954
    assert report.skipped["bookTicker"] == 66_089


# ------------------------------------------------------------------------------------------ shapes of files


def write(path, text):
    path.write_text(text)
    return path


def rows(found):
    return [(p.ts_ns, p.price, p.size, p.side) for p in found]


BASE = 1_705_307_400 * NS
SAID = [(BASE + NS // 2, 100.25, 3, 0), (BASE + NS, 100.5, 1, 1), (BASE + NS, 100.25, 2, 2)]


def test_a_csv_with_a_header_needs_nothing_said(tmp_path, prints):
    report = import_ticks(write(tmp_path / "a.csv", GOOD), tmp_path / "log", "X")
    assert rows(prints(tmp_path / "log")) == SAID
    assert (report.rows, report.first_ns, report.last_ns) == ({"X": 3}, SAID[0][0], SAID[-1][0])


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (GOOD.partition("\n")[2], {}),
        (GOOD.replace(",", ";"), {}),
        (GOOD.replace(",", "\t").replace("\n", "\r\n"), {}),
        ("\ufeff" + GOOD, {}),
        (GOOD.replace("time,price,size,side", "a,b,c,d"), {"columns": "time,price,size,side"}),
        (GOOD.replace("time,price,size,side", "a,b,c,d"), {"columns": "side=d,size=c,price=b,time=1"}),
        ("\n".join(f"x,{line}" for line in GOOD.splitlines()), {"columns": "-,time,price,size,side"}),
        (GOOD.replace("2024-01-15 ", "15.01.2024 "), {"time_format": "%d.%m.%Y %H:%M:%S"}),
        (GOOD.replace("time", "date,time").replace("-15 ", "-15,"), {"columns": "date,time,price,size,side"}),
        (GOOD.replace("2024-01-15 08:30:00.5", "30600500").replace("2024-01-15 08:30:01", "30601000"), {"time_format": "ms-of-day", "day": date(2024, 1, 15)}),
        (GOOD.replace("2024-01-15 08:30:00.5", "1705307400.5").replace("2024-01-15 08:30:01", "1705307401"), {}),
        (GOOD.replace("2024-01-15 08:30", "2024-01-15 02:30"), {"timezone": "America/Chicago"}),
        (GOOD.replace("2024-01-15 08:30:00.5", "2024-01-15T02:30:00.5-06:00").replace("2024-01-15 08:30:01", "2024-01-15T08:30:01Z"), {"timezone": "Asia/Tokyo"}),
        (GOOD.replace(",3,", ",3.0,"), {}),
    ],
)  # fmt: skip
def test_the_same_ticks_may_be_written_many_ways(tmp_path, prints, text, options):
    import_ticks(write(tmp_path / "a.csv", text), tmp_path / "log", "X", **options)
    assert rows(prints(tmp_path / "log")) == SAID


@pytest.mark.parametrize("suffix", ["gz", "zip"])
def test_text_may_be_packed(tmp_path, prints, suffix):
    path = tmp_path / f"a.csv.{suffix}"
    if suffix == "gz":
        path.write_bytes(gzip.compress(GOOD.encode()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.csv", GOOD)
    import_ticks(path, tmp_path / "log", "X")
    assert rows(prints(tmp_path / "log")) == SAID


@pytest.mark.parametrize(
    "columns",
    [
        {"time": pa.array([s[0] for s in SAID]).cast(pa.timestamp("ns", "UTC")), "side": pa.array(["buy", "sell", None])},
        {"time": pa.array([s[0] // 1000 for s in SAID]).cast(pa.timestamp("us")), "side": pa.array([0, 1, 2])},
        {"time": pa.array([s[0] for s in SAID]), "side": pa.array(["b", "s", "u"]).dictionary_encode()},
        {"time": pa.array(["2024-01-15 08:30:00.5", "2024-01-15 08:30:01", "2024-01-15 08:30:01"]), "side": pa.array(["b", "s", ""])},
    ],
)  # fmt: skip
def test_parquet_is_read_with_its_own_types(tmp_path, prints, columns):
    table = pa.table(columns | {"price": [100.25, 100.5, 100.25], "volume": pa.array([3, 1, 2], pa.int32())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    import_ticks(tmp_path / "a.parquet", tmp_path / "log", "X")
    assert rows(prints(tmp_path / "log")) == SAID


SEVERAL = "time,contract,price,size\n" + "".join(
    f"{BASE + s * NS},{name},{price},1\n"
    for s, name, price in [(0, "B", 7), (0, "A", 100.25), (1, "A", 100.5), (1, "B", 7.1), (2, "A", 100.25)]
)


@pytest.fixture(params=["csv", "parquet"])
def several(request, tmp_path):
    """Ticks of two contracts in one table, told apart by a column."""
    if request.param == "csv":
        return write(tmp_path / "a.csv", SEVERAL)
    head, *lines = (line.split(",") for line in SEVERAL.splitlines())
    table = dict(zip(head, zip(*lines, strict=True), strict=True))
    numbers = {"time": [int(t) for t in table["time"]], "price": [float(p) for p in table["price"]], "size": [1] * 5}
    columns = {**{name: list(cells) for name, cells in table.items()}, **numbers}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_of_a_table_with_several_contracts_the_one_asked_for_is_taken(several, tmp_path, prints):
    report = import_ticks(several, tmp_path / "log", "A")
    assert [(p.contract, p.price) for p in prints(tmp_path / "log")] == [("A", 100.25), ("A", 100.5), ("A", 100.25)]
    assert (report.rows, report.others, report.tick_size) == ({"A": 3}, 2, {"A": "0.25"})
    assert report.columns == {"time": "time", "price": "price", "size": "size", "contract": "contract"}


def test_all_contracts_of_a_table_are_taken_in_its_order_each_with_its_tick_size(several, tmp_path, prints):
    report = import_ticks(several, tmp_path / "log", "*")
    assert [(p.contract, p.price) for p in prints(tmp_path / "log")] == [
        ("B", 7.0), ("A", 100.25), ("A", 100.5), ("B", 7.1), ("A", 100.25),
    ]  # fmt: skip
    assert (report.rows, report.others, report.tick_size) == ({"B": 2, "A": 3}, 0, {"B": "0.1", "A": "0.25"})
    found = import_ticks(
        several, tmp_path / "two", "*", product=lambda name: Product(None, f"of {name}", {"name": name})
    )
    assert found.rows == report.rows


def test_a_table_of_several_contracts_is_not_taken_for_one_of_another_name(several, tmp_path, prints):
    with pytest.raises(ImportFault, match=r"column 'contract' names 'B', 'A', and not 'X': .*or \* for all"):
        import_ticks(several, tmp_path / "log", "X")
    assert [p.name for p in tmp_path.iterdir()] == [several.name]
    import_ticks(several, tmp_path / "log", "X", columns="time=time,price=price,size=size,contract=-")
    assert {p.contract for p in prints(tmp_path / "log")} == {"X"}


def test_a_table_of_one_contract_may_be_called_something_else(tmp_path, prints):
    path = write(tmp_path / "a.csv", SEVERAL.replace(",B,", ",A,"))
    assert import_ticks(path, tmp_path / "log", "ES").rows == {"ES": 5}
    unnamed = write(tmp_path / "b.csv", SEVERAL.replace(",B,", ",,"))
    with pytest.raises(ImportFault, match=r"b\.csv, line 2, column 'contract': '' stands where the name of a contract"):
        import_ticks(unnamed, tmp_path / "other", "*")
    with pytest.raises(ImportFault, match="no column says whose ticks these are"):
        import_ticks(write(tmp_path / "c.csv", GOOD), tmp_path / "other", "*")


def gateway(*prints, contract="X"):
    body = [{"symbolId": "F", "price": p, "timestamp": t, "type": side, "volume": v} for t, p, v, side in prints]
    return json.dumps({"type": 1, "target": "GatewayTrade", "arguments": [contract, body]})


FRAMES = [
    '{"type":6}\x1e',
    gateway(("2024-01-15T08:30:00.5Z", 100.25, 3, 0)) + "\x1e",
    gateway(("2024-01-15T02:30:01-06:00", 100.5, 1, 1), ("2024-01-15T08:30:01.0000000+00:00", 100.25, 2, 1)),
    gateway(("2024-01-15T08:30:02Z", 7.0, 1, 1), contract="Y"),
]


def test_json_lines_of_the_gateways_frames(tmp_path, prints):
    path = write(tmp_path / "a.jsonl", "\n".join(FRAMES))
    report = import_ticks(path, tmp_path / "log", "X")
    assert rows(prints(tmp_path / "log")) == [*SAID[:2], (*SAID[2][:3], 1)]
    assert (report.rows, report.skipped) == ({"X": 3}, {"type 6": 1})
    assert import_ticks(path, tmp_path / "all", "*").rows == {"X": 3, "Y": 1}
    with pytest.raises(ImportFault, match="no trades of Z, only of X, Y"):
        import_ticks(path, tmp_path / "none", "Z")


def test_stamped_lines_of_the_gateways_frames_keep_their_receipt(tmp_path, records):
    path = write(tmp_path / "a.log", "".join(f"{BASE + i * NS} {line}\n" for i, line in enumerate(FRAMES)))
    import_ticks(path, tmp_path / "log", "X")
    assert [r.recv_ns for r in records(tmp_path / "log") if not isinstance(r, ControlRecord)] == [
        BASE + NS, BASE + 2 * NS, BASE + 2 * NS,
    ]  # fmt: skip


@pytest.mark.parametrize(("unit", "scale"), [("s", NS), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
def test_digits_tell_the_unit_of_receipt_stamps(tmp_path, records, unit, scale):
    path = write(tmp_path / "a.log", "".join(f"{(BASE + i * NS) // scale} {line}\n" for i, line in enumerate(FRAMES)))
    report = import_ticks(path, tmp_path / "log", "X")
    assert report.receipts == {"a.log": unit}
    frames = [r for r in records(tmp_path / "log") if not isinstance(r, ControlRecord)]
    assert [r.recv_ns for r in frames] == [BASE + NS, BASE + 2 * NS, BASE + 2 * NS]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (FRAMES[2], r"a\.log, line 3: it has no receipt stamp, and line 2 has a: stamp all lines with trades or none"),
        (f"{BASE // 10**6} {FRAMES[2]}", f"line 3: receipt stamp '{BASE // 10**6}' counts ms, those before count ns"),
    ],
)
def test_a_line_whose_receipt_is_told_otherwise_costs_no_other_its_own(tmp_path, line, words):
    stamped = [f"{BASE + i * NS} {line}" for i, line in enumerate(FRAMES)]
    path = write(tmp_path / "a.log", "\n".join([*stamped[:2], line, stamped[3]]))
    for lenient in (False, True):
        with pytest.raises(ImportFault, match=words):
            import_ticks(path, tmp_path / "log", "X", lenient=lenient)


BAD_ELEMENTS = [
    ('{"price":1,"timestamp":"2024-01-15T08:30:00Z","type":7,"volume":1}', "side"),
    ('{"price":null,"timestamp":"2024-01-15T08:30:00Z","type":0,"volume":1}', "schema"),
    ('{"price":1,"type":0,"volume":1}', "schema"),
    ('{"price":1,"timestamp":"yesterday","type":0,"volume":1}', "timestamp"),
    ('{"price":1,"timestamp":"2255-01-15T08:30:00Z","type":0,"volume":1}', "timestamp"),
    ('{"price":1,"timestamp":"2024-01-15T08:30:00Z","type":0,"volume":-1}', "value"),
    ('{"price":NaN,"timestamp":"2024-01-15T08:30:00Z","type":0,"volume":1}', "value"),
    ('{"price":1,', "json"),
]


@pytest.mark.parametrize(("element", "reason"), BAD_ELEMENTS)
def test_an_element_that_a_live_session_rejects_is_named_or_left_out_and_counted(tmp_path, prints, element, reason):
    good = '{"price":100.25,"timestamp":"2024-01-15T08:30:01Z","type":0,"volume":2.0}'
    line = f'{{"type":1,"target":"GatewayTrade","arguments":["X",[{good},{element}]]}}'
    path = write(tmp_path / "a.jsonl", "\n".join([FRAMES[1], line, FRAMES[2]]))
    with pytest.raises(ImportFault, match=r"a\.jsonl, line 2: it is no frame .*: mend the line, or .* with --lenient"):
        import_ticks(path, tmp_path / "log", "X")
    report = import_ticks(path, tmp_path / "log", "X", lenient=True)
    assert (report.rejected, report.rows) == ({reason: 1}, {"X": 4})
    assert rows(prints(tmp_path / "log"))[1] == (BASE + NS, 100.25, 2, 0)


def test_what_binance_never_sends_is_left_out_and_counted(tmp_path, prints):
    lines = [json.dumps({"e": "trade", "T": 1, "s": "A", "p": "1", "q": q}) for q in ("1", "nan", "x", "-1", "2")]
    path = write(
        tmp_path / "a.jsonl",
        "\n".join([*lines, '{"e":', json.dumps({"e": "trade", "T": 10**19, "s": "A", "p": "1", "q": "1"})]),
    )
    report = import_ticks(path, tmp_path / "log", "*", lenient=True)
    assert report.rejected == {"value": 2, "schema": 1, "timestamp": 1, "json": 1}
    assert [(p.contract, p.size) for p in prints(tmp_path / "log")] == [("A", 1), ("A", 2)]


def test_ticks_out_of_order_stay_where_they_stood_and_receipt_only_rises(tmp_path, records):
    text = "time,price,size\n" + "".join(f"{BASE + s * NS},100,1\n" for s in (1, 3, 2, 4))
    report = import_ticks(write(tmp_path / "a.csv", text), tmp_path / "log", "X")
    frames = [r for r in records(tmp_path / "log") if not isinstance(r, ControlRecord)]
    assert [(r.prints[0].ts_ns - BASE) // NS for r in frames] == [1, 3, 2, 4]
    assert [(r.recv_ns - BASE) // NS for r in frames] == [1, 3, 3, 4]
    assert report.out_of_order == 1


def test_sizes_in_fractions_need_their_step(tmp_path, prints):
    path = write(tmp_path / "a.csv", f"time,price,size\n{BASE},100,0.006\n{BASE},100,1.5\n")
    with pytest.raises(
        ImportFault, match=r"line 2, column 'size': '0.006' stands where a multiple of 1, not below zero"
    ):
        import_ticks(path, tmp_path / "log", "X")
    import_ticks(path, tmp_path / "log", "X", size_step="0.001")
    assert [p.size for p in prints(tmp_path / "log")] == [6, 1500]


def test_prices_off_the_grid_are_counted_and_left_to_validation(tmp_path):
    path = write(tmp_path / "a.csv", f"time,price,size\n{BASE},100.25,1\n{BASE},100.3,1\n")
    report = import_ticks(path, tmp_path / "log", "X", tick_size="1/4")
    assert (report.off_grid, report.tick_size, report.inferred) == (1, {"X": "0.25"}, ())


def test_large_files_come_in_large_items(tmp_path):
    text = "time,price,size\n" + "".join(f"{BASE + i},{100 + i % 9},1\n" for i in range(150_000))
    import_ticks(write(tmp_path / "a.csv", text), tmp_path / "log", "X")
    with LogReader(tmp_path / "log") as reader:
        assert [len(n.item) for n in reader.items() if isinstance(n.item, Frames)] == [131_072, 18_928]


def test_the_day_the_clocks_go_back_is_read_right(tmp_path, prints):
    """A made file, for none was found in public: a tick every ten minutes from 00:30 to 02:30 Chicago, twice through 01."""
    wall = ["00:30", "00:50", "01:10", "01:30", "01:50", "01:10", "01:30", "01:50", "02:10", "02:30"]
    text = "time,price,size\n" + "".join(f"2024-11-03 {t}:00,100,1\n" for t in wall)
    report = import_ticks(write(tmp_path / "a.csv", text), tmp_path / "log", "X", timezone="America/Chicago")
    first = int(datetime(2024, 11, 3, 5, 30, tzinfo=ZoneInfo("UTC")).timestamp()) * NS
    assert [p.ts_ns for p in prints(tmp_path / "log")] == [first + i * 20 * 60 * NS for i in range(10)]
    assert report.ambiguous == 6


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2024-01-15 08:30:02,abc,1,buy", r"a\.csv, line 4, column 'price': 'abc' stands where a number is wanted"),
        ("2024-01-15 08:30:02,,1,buy", "line 4, column 'price': '' stands"),
        ("2024-01-15 08:30:02,nan,1,buy", "line 4, column 'price': 'nan' stands"),
        ("2024-01-15 08:30:02,inf,1,buy", "line 4, column 'price': 'inf' stands"),
        ("2024-01-15 08:30:02,100,-1,buy", "line 4, column 'size': '-1' stands where a multiple of 1, not below zero"),
        ("2024-01-15 08:30:02,100,1.5,buy", "line 4, column 'size': '1.5'"),
        ("2024-01-15 08:30:02,100,,buy", "line 4, column 'size': ''"),
        ("2024-01-15 08:30:02,100,1,long", "line 4, column 'side': 'long' stands where buy, sell or unknown is wanted"),
        ("yesterday,100,1,buy", "line 4, column 'time': 'yesterday' stands where a time like"),
        ("2024-01-15 08:30:02Z,100,1,buy", "line 4, column 'time'"),
        (",100,1,buy", "line 4, column 'time': ''"),
        ("2024-01-15 08:30:02,100", "line 4: 2 columns stand where 4 are wanted"),
        ("2024-01-15 08:30:02,100,1,buy,extra", "line 4: 5 columns stand"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column_and_nothing_is_written(tmp_path, line, words):
    rows = GOOD.splitlines()
    path = write(tmp_path / "a.csv", "\n".join([*rows[:3], line, *rows[3:]]) + "\n")
    with pytest.raises(ImportFault, match=words):
        import_ticks(path, tmp_path / "log", "X")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("1763735400000,1,1", {"time_format": "s"}, "line 2, column 'time': '1763735400000' .* number of s since 1970"),
        ("10000000000,1,1", {}, r"line 2, column 'time': '10000000000' .* \(years 1691 to 2249\) is wanted"),
        ("99999999999999999999,1,1", {}, "line 2, column 'time': '99999999999999999999'"),
        ("2024-01-01,1,1\n2262-04-11 12:00:00,1,1", {}, "line 3, column 'time': '2262-04-11 12:00:00'"),
        ("2024-01-01,1,1\n2300-01-01,1,1", {}, "line 3, column 'time': '2300-01-01'"),
    ],
)
def test_a_year_that_no_calendar_holds_is_named_by_line(tmp_path, text, options, words):
    path = write(tmp_path / "a.csv", f"time,price,size\n{text}\n")
    with pytest.raises(ImportFault, match=words):
        import_ticks(path, tmp_path / "log", "X", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([0, 10**11], pa.timestamp("s")),
        pa.array([0, 8_835_984_000], pa.timestamp("s", "UTC")),
        pa.array([BASE, 2**63 - 1]),
        pa.array([BASE, 2**64 - 1], pa.uint64()),
        pa.array(["2024-01-01", "2300-01-01"]),
    ],
)
def test_such_a_year_is_named_by_row_in_parquet(tmp_path, times):
    pyarrow.parquet.write_table(pa.table({"time": times, "price": [1.0, 1.0], "size": [1, 1]}), tmp_path / "a.parquet")
    with pytest.raises(ImportFault, match=r"a\.parquet, row 2, column 'time': .* \(years 1691 to 2249\) is wanted"):
        import_ticks(tmp_path / "a.parquet", tmp_path / "log", "X")


@pytest.mark.parametrize("stamp", [2**63 - 1, 10**20, -(10**20), 8_835_984_000_000])
def test_such_a_year_is_named_by_line_in_frames(tmp_path, stamp):
    path = write(tmp_path / "a.jsonl", json.dumps({"e": "trade", "T": stamp, "s": "A", "p": "1", "q": "1"}))
    with pytest.raises(
        ImportFault, match=rf"a\.jsonl, line 1: .*\({stamp} stands where a time of the years 1691 to 2249"
    ):
        import_ticks(path, tmp_path / "log", "X")


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.csv", f"time,price,size\n{BASE},1,1e300\n", {}, r"a\.csv, line 2, column 'size': '1e300' .* 2\^53 of them"),
        ("a.csv", f"time,price,size\n{BASE},1,9223372036854775808\n", {}, "line 2, column 'size': '9223372036854775808'"),
        ("a.csv", GOOD, {"tick_size": "1e400"}, "--tick-size: '1e400' is no step: give a number"),
        ("a.csv", GOOD, {"tick_size": "1e-400"}, "--tick-size: '1e-400' is no step: give a number"),
        ("a.csv", GOOD, {"tick_size": "1e999999999"}, "is no step: give a number"),
        ("a.csv", GOOD, {"tick_size": "1/" + "3" * 30}, "is no step: give a number such as 0.25 or 1/32, of 18 digits"),
        ("a.jsonl", '{"e":"trade","T":1,"s":"A","p":"1","q":"1e300"}', {}, r"line 1: size 1e\+300 of A .* 2\^53"),
        ("a.jsonl", '{"e":"trade","T":1,"s":"A","p":"1","q":"nan"}', {}, "line 1: .*price 1 and size nan must be finite"),
        ("a.jsonl", '9999999999999999999 {"e":"trade","T":1,"s":"A","p":"1","q":"1"}', {}, "line 1: receipt stamp '9999999999999999999' is outside"),
        ("a.jsonl", "1" * 40 + ' {"e":"trade","T":1,"s":"A","p":"1","q":"1"}', {}, "line 1: receipt stamp '1111.* is outside the years"),
        ("a.jsonl", '{"type":1,"target":"GatewayTrade","arguments":["X",' + "[" * 5000 + "]" * 5000 + "]}", {}, "line 1: it is no frame .*nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_beyond_all_numbers_is_said_in_a_sentence(tmp_path, name, content, options, words):
    path = write(tmp_path / name, content)
    with pytest.raises(ImportFault, match=words) as raised:
        import_ticks(path, tmp_path / "log", "X", **options)
    assert "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_price_beyond_floats_is_off_the_grid_without_a_warning(tmp_path, recwarn):
    path = write(tmp_path / "a.csv", f"time,price,size\n{BASE},1e308,1\n{BASE},100.25,1\n")
    assert import_ticks(path, tmp_path / "log", "X", tick_size="0.25").off_grid == 1
    assert list(recwarn) == []


@pytest.mark.parametrize("text", ["2249-12-31 23:59:59.999999999", "1691-01-01"])
def test_the_first_and_last_of_the_years_taken_can_be_replayed(tmp_path, text):
    path = write(tmp_path / "a.csv", f"time,price,size\n{text},100,1\n")
    for timezone in ("Pacific/Honolulu", "Asia/Tokyo"):
        import_ticks(path, tmp_path / timezone[:4], "X", tick_size=1, calendar="utc", timezone=timezone)
        summary = tickloom.replay(tmp_path / timezone[:4], timeframes=["1m", "1d", "1mo"]).summary
        assert (summary.ticks, summary.lost) == (1, 0)


def test_an_import_that_does_not_fit_into_its_log_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(ticks_module, "_AFTER_END", 2**63)
    with pytest.raises(ImportFault, match="2 ticks or records fit into no log"):
        import_ticks(write(tmp_path / "a.csv", GOOD), tmp_path / "log", "X")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_blank_lines_do_not_shift_the_line_named(tmp_path):
    path = write(tmp_path / "a.csv", GOOD + "\n\n2024-01-15 08:30:02,x,1,buy\n")
    with pytest.raises(ImportFault, match="line 7, column 'price'"):
        import_ticks(path, tmp_path / "log", "X")


def test_a_time_the_clock_skipped_is_named_by_line(tmp_path):
    path = write(tmp_path / "a.csv", "time,price,size\n2024-03-10 01:59:00,1,1\n2024-03-10 02:30:00,1,1\n")
    with pytest.raises(
        ImportFault, match=r"a\.csv, line 3, column 'time': 2024-03-10 02:30:00 never was in America/Chicago"
    ):
        import_ticks(path, tmp_path / "log", "X", timezone="America/Chicago")


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.csv", "", {}, "it is empty"),
        ("a.csv", "time,price,size\n", {}, "nothing after line 1"),
        ("a.csv", "when,how,what\nx,y,z\n", {}, "line 1: there is no column for time among 'when', 'how', 'what'"),
        ("a.csv", "1,2\n", {}, "no column for size among 2 columns"),
        ("a.csv", GOOD, {"columns": "time,price,size=lots"}, "no column 'lots'"),
        ("a.csv", GOOD, {"timezone": "Chicago"}, "no zone 'Chicago': give one such as America/Chicago"),
        ("a.csv", GOOD, {"tick_size": "x"}, "--tick-size: 'x' is no step"),
        ("a.csv", GOOD, {"size_step": 0}, "--size-step: 0 is no step"),
        ("a.csv", GOOD, {"time_format": "fortnights"}, "no time format 'fortnights'"),
        ("a.csv", f"time,price,size\n{BASE},3.14159265358979,1\n", {}, "no usual tick size: give --tick-size"),
        ("a.zip", "no zip", {}, "cannot be read"),
        ("a.gz", "no gzip", {}, "cannot be read"),
        ("a.parquet", "no parquet", {}, "cannot be read as Parquet"),
        ("a.jsonl", '{"type":6}\n', {}, "no trade in it, only type 6"),
        ("a.jsonl", '{"e":"trade","T":1,"s":"A","p":"x","q":"1"}\n', {}, "line 1: it is no frame"),
        ("a.jsonl", '{"type":6}\n{"type":\n', {}, "line 2: it is no frame"),
        ("a.jsonl", gateway(("2024-01-15T08:30:00", 1.0, 1, 0)), {}, r"line 1: it is no frame .*\(timestamp: '2024-01-15T08:30:00' is no stamp\)"),
        ("a.jsonl", '{"e":"trade","T":1,"s":"A","p":"1","q":"1"}\n{"e":"trade","T":1,"s":"B","p":"1","q":"1"}', {}, r"several symbols \(A, B\)"),
        ("a.jsonl", '{"e":"trade","T":1,"s":"A","p":"1","q":"1"}\n' + gateway(("2024-01-15T08:30:00Z", 1.0, 1, 0)), {}, "mixes frames"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_said_in_a_sentence(tmp_path, name, content, options, words):
    path = write(tmp_path / name, content)
    with pytest.raises(ImportFault, match=words):
        import_ticks(path, tmp_path / "log", "X", **options)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("contract", ["", "  "])
def test_a_contract_without_a_name_is_refused_before_anything_is_written(tmp_path, contract):
    path = write(tmp_path / "a.csv", GOOD)
    with pytest.raises(ImportFault, match="--contract: the name is empty: say whose ticks they are"):
        import_ticks(path, tmp_path / "log", contract)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"price": [1.0, None, 1.0]}, "row 2, column 'price': None"),
        ({"price": [1.0, 1.0, float("nan")]}, "row 3, column 'price': nan"),
        ({"price": ["a", "b", "c"]}, "column 'price' holds string, numbers are wanted"),
        ({"size": [1, -1, 1]}, "row 2, column 'size'"),
        ({"side": ["buy", "sell", "left"]}, "row 3, column 'side': 'left'"),
        ({"time": ["x", "y", "z"]}, "column 'time': 'x' is no time"),
    ],
)
def test_a_bad_row_of_parquet_is_named(tmp_path, changed, words):
    table = {"time": [BASE] * 3, "price": [1.0] * 3, "size": [1] * 3, "side": ["buy"] * 3} | changed
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(ImportFault, match=words):
        import_ticks(tmp_path / "a.parquet", tmp_path / "log", "X")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ImportFault, match=r"nowhere\.csv: it cannot be read \(No such file"):
        import_ticks(tmp_path / "nowhere.csv", tmp_path / "log", "X")


def test_a_folder_that_holds_something_is_left_alone(tmp_path, prints):
    path = write(tmp_path / "a.csv", GOOD)
    log = tmp_path / "log"
    log.mkdir()
    import_ticks(path, log, "X")
    before = prints(log)
    with pytest.raises(ImportFault, match="is not empty"):
        import_ticks(path, log, "Y")
    assert prints(log) == before
    (log / f"checkpoint-{7:020d}.tlcp").touch()
    import_ticks(path, log, "Y", replace=True)
    assert list(log.glob("*.tlcp")) == [], "a checkpoint of the old log says nothing of the new one"
    assert {p.contract for p in prints(log)} == {"Y"}
    (log / "thesis.doc").touch()
    with pytest.raises(ImportFault, match=r"'thesis\.doc', which is of no log"):
        import_ticks(path, log, "Z", replace=True)
    with pytest.raises(ImportFault, match="is a file"):
        import_ticks(path, path, "X")
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "log"}


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    run = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(run.stdout)


def test_what_a_killed_import_left_is_removed_by_the_next_beside_it(tmp_path, dead, prints):
    path = write(tmp_path / "a.csv", GOOD)
    for pid in (dead, os.getpid(), os.getppid()):
        import_ticks(path, tmp_path / f".log.importing-{pid}", "Y")
    import_ticks(path, tmp_path / f".other.importing-{dead}", "Y")
    import_ticks(path, tmp_path / "log", "X")
    assert {p.contract for p in prints(tmp_path / "log")} == {"X"}
    left = {"a.csv", "log", f".log.importing-{os.getppid()}", f".other.importing-{dead}"}
    assert {p.name for p in tmp_path.iterdir()} == left, "those of living processes and of other logs stay"


def test_a_replacement_that_was_killed_between_its_renames_is_finished(tmp_path, dead, prints):
    path, log, pid = write(tmp_path / "a.csv", GOOD), tmp_path / "log", dead
    import_ticks(path, tmp_path / f".log.replaced-{pid}", "OLD")
    import_ticks(path, tmp_path / f".log.importing-{pid}", "NEW")
    with pytest.raises(ImportFault, match="was killed at its last step; its log was complete and is in place now"):
        import_ticks(path, log, "X")
    assert {p.contract for p in prints(log)} == {"NEW"}
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "log"}
    import_ticks(path, tmp_path / f".log.replaced-{pid}", "OLD")
    import_ticks(path, log, "X", replace=True)
    assert {p.contract for p in prints(log)} == {"X"}
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "log"}, "only the removal of the old was left to do"


def test_a_log_that_came_between_is_left_to_a_person_to_tell_apart(tmp_path, dead, prints):
    path, log, pid = write(tmp_path / "a.csv", GOOD), tmp_path / "log", dead
    for name in ("log", f".log.replaced-{pid}", f".log.importing-{pid}"):
        import_ticks(path, tmp_path / name, "Y")
    with pytest.raises(ImportFault, match=rf"log\.replaced-{pid} and .*log\.importing-{pid} are of an import that was"):
        import_ticks(path, log, "X", replace=True)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_log_whose_replacement_cannot_be_put_in_its_place_is_there_again(tmp_path, monkeypatch, prints):
    path, log = write(tmp_path / "a.csv", GOOD), tmp_path / "log"
    import_ticks(path, log, "OLD")
    rename = Path.rename

    def refuse(self, target):
        if ".importing-" in self.name:
            raise OSError(errno.EIO, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        import_ticks(path, log, "NEW", replace=True)
    assert {p.contract for p in prints(log)} == {"OLD"}
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "log"}


def test_what_recover_set_aside_goes_with_the_log_that_is_replaced(tmp_path, prints):
    path, log = write(tmp_path / "a.csv", GOOD), tmp_path / "log"
    import_ticks(path, log, "X")
    (segment,) = segments_in(log)
    for name in (f"{segment.name}.damaged", f"{segment.name}.damaged-2"):
        (log / name).touch()
    import_ticks(path, log, "Y", replace=True)
    assert {p.contract for p in prints(log)} == {"Y"}
    (log / "thesis.damaged").touch()
    with pytest.raises(ImportFault, match=r"'thesis\.damaged', which is of no log"):
        import_ticks(path, log, "Z", replace=True)


def test_a_full_disk_is_said_of_the_log_that_was_asked_for(tmp_path, kit, monkeypatch):
    def full(*arguments, **options):
        disk = kit.Disk()
        disk.room = 4096
        return LogWriter(*arguments, files=disk, **options)

    monkeypatch.setattr(ticks_module, "LogWriter", full)
    with pytest.raises(OSError, match="No space left") as raised:
        import_ticks(write(tmp_path / "a.csv", GOOD), tmp_path / "log", "X")
    assert sentence(raised.value) == f"{tmp_path / 'log'}: no space left on device: free some space, or write elsewhere"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_log_in_use_is_not_replaced(tmp_path, kit):
    path = write(tmp_path / "a.csv", GOOD)
    with LogWriter(tmp_path / "log", session="s") as writer:
        writer.append(kit.number([kit.frames(1)]), 0)
        writer.flush(0)
        with pytest.raises(LogInUse):
            import_ticks(path, tmp_path / "log", "X", replace=True)
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv", "log"}
