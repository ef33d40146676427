"""Ticks of a table: CSV and Parquet read as columns, every cell checked, and the first bad one found by line.

Whole columns are converted at once. Only when that fails is the file gone through again line by line, by the slow
rules, to say which cell it was.
"""

from __future__ import annotations

import csv as text_csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from tickloom.actors.recorder.errors import ImportFault
from tickloom.actors.recorder.importing import columns as column_map
from tickloom.actors.recorder.importing.grid import in_steps, uncountable
from tickloom.actors.recorder.importing.times import TimeFormat, choose_format, is_valid, to_ns
from tickloom.actors.recorder.importing.zones import Skipped, to_utc
from tickloom.messages.market import FloatArray, IntArray, Side

SIDES = {
    "buy": Side.BUY, "b": Side.BUY, "0": Side.BUY, "sell": Side.SELL, "s": Side.SELL, "1": Side.SELL,
    "": Side.UNKNOWN, "unknown": Side.UNKNOWN, "u": Side.UNKNOWN, "n": Side.UNKNOWN, "none": Side.UNKNOWN,
    "2": Side.UNKNOWN,
}  # fmt: skip
"""How a side may be written, in any case: words, their first letter, or the wire's numbers."""

_SNIFF = 64 * 1024
_SHOWN = 8


class Ticks(msgspec.Struct, frozen=True):
    """Ticks of one contract, in the order of the file.

    Attributes:
        recv_ns: None when nobody noted receipt.
        row: where each stood among all that the file holds; None: there are no others.
        base: how many ticks there were in the files before.
    """

    contract: str
    ts_ns: IntArray
    price: FloatArray
    size: IntArray
    side: IntArray
    recv_ns: IntArray | None = None
    ambiguous: int = 0
    row: IntArray | None = None
    base: int = 0

    def __len__(self) -> int:
        return len(self.price)


class Table(msgspec.Struct, frozen=True):
    """What a table held.

    Attributes:
        ticks: by contract, those that were asked for.
        columns: the name of each role's column, or its number where there are no names.
        others: ticks of contracts that were not asked for.
    """

    ticks: list[Ticks]
    columns: dict[str, str]
    others: int = 0


class Layout(msgspec.Struct, frozen=True):
    """How a table is to be read; see `import_ticks`."""

    columns: str | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    time_format: str = "auto"
    date: date | None = None
    size_step: Fraction = Fraction(1)


class _Sheet(msgspec.Struct, frozen=True):
    """A CSV file's outside: where its columns are and how its first time is written."""

    name: str
    data: bytes
    separator: str
    header: list[str] | None
    width: int
    places: dict[str, int]
    form: TimeFormat


def read_csv(name: str, data: bytes, contract: str, layout: Layout) -> Table:
    """Read the bytes of a CSV file: the ticks of `contract`, or of all that its column of contracts names with `*`.

    Raises:
        ImportFault: naming file, line, column, what stands there and what is wanted.
    """
    sheet = _sniff(name, data, layout)
    table = _convert(sheet)
    if table is None:
        _find_fault(sheet, layout)
    cells = {role: table.column(str(place)).combine_chunks() for role, place in sheet.places.items()}
    fine = all(not cells[role].null_count for role in sheet.places if role not in ("side", "contract"))
    sides = _sides(cells["side"]) if "side" in cells else np.full(len(table), int(Side.UNKNOWN), np.int64)
    price = np.asarray(cells["price"].cast(pa.float64())) if fine else None
    size = _sizes(cells["size"], layout.size_step) if fine else None
    if price is None or size is None or sides is None or not np.isfinite(price).all():
        _find_fault(sheet, layout)
    try:
        times = to_ns(cells["time"], sheet.form)
    except (ValueError, pa.ArrowException):
        _find_fault(sheet, layout)
    ticks = _in_utc(contract, times, price, size, sides, sheet.form, layout, lambda row: _line_of(sheet, row))
    titles = {role: _title(sheet.header, place) for role, place in sheet.places.items()}
    return _parted(name, ticks, cells.get("contract"), titles, lambda row: f"line {_line_at(sheet, row)}")


def read_parquet(name: str, source: Any, contract: str, layout: Layout) -> Table:
    """Read a Parquet file.

    Args:
        name: the file's name for messages.
        source: a path or a file.
        contract: whose ticks they are, or `*` for all that its column of contracts names.
        layout: its columns and times.

    Raises:
        ImportFault: naming file, row, column, what stands there and what is wanted.
    """
    try:
        file = parquet.ParquetFile(source)
        names = file.schema_arrow.names
        places = column_map.match(layout.columns, names, len(names))
        table = file.read([names[place] for place in places.values()])
    except column_map.NoColumn as error:
        raise ImportFault(f"{name}: {error}") from None
    except (pa.ArrowException, OSError) as error:
        raise ImportFault(f"{name}: it cannot be read as Parquet ({error})") from None
    cells = {role: table.column(names[place]).combine_chunks() for role, place in places.items()}
    for role in cells.keys() & {"side", "contract"}:
        cells[role] = _texts(name, names[places[role]], cells[role])
    for role, column in cells.items():
        if column.null_count and role not in ("side", "contract"):
            row = int(np.flatnonzero(~np.asarray(column.is_valid()))[0])
            _fault(name, f"row {row + 1}", names[places[role]], None, "a value")
    price = _numbers(name, names[places["price"]], cells["price"])
    bad = np.flatnonzero(~np.isfinite(price))
    if len(bad):
        _fault(name, f"row {bad[0] + 1}", names[places["price"]], float(price[bad[0]]), "a finite number")
    counts = _numbers(name, names[places["size"]], cells["size"])
    bad = np.flatnonzero(_bad_sizes(counts, layout.size_step))
    if len(bad):
        wanted = _wanted_size(layout.size_step)
        _fault(name, f"row {bad[0] + 1}", names[places["size"]], float(counts[bad[0]]), wanted)
    sides = np.full(len(table), int(Side.UNKNOWN), np.int64)
    if "side" in cells:
        texts = cells["side"]
        known = _sides(texts)
        if known is None:
            row, text = next((i, t) for i, t in enumerate(texts.to_pylist()) if (t or "").lower() not in SIDES)
            _fault(name, f"row {row + 1}", names[places["side"]], text, "buy, sell or unknown")
        sides = known
    times, form = _parquet_times(name, names[places["time"]], cells["time"], layout)
    size = in_steps(counts, layout.size_step)
    ticks = _in_utc(contract, times, price, size, sides, form, layout, lambda row: f"row {row + 1}")
    titles = {role: names[place] for role, place in places.items()}
    return _parted(name, ticks, cells.get("contract"), titles, lambda row: f"row {row + 1}")


def _parted(name: str, ticks: Ticks, cells: pa.Array | None, titles: dict[str, str], place: Any) -> Table:
    """Tell contracts apart by the column that names them.

    A column with one name only says nothing that was not said: those are the ticks of the contract asked for.
    """
    asked = ticks.contract
    if cells is None:
        if asked == "*":
            raise ImportFault(
                f"{name}: no column says whose ticks these are: name the contract, or --columns contract=NAME"
            )
        return Table([ticks], titles)
    coded = pc.fill_null(cells, "").dictionary_encode()
    found = [text.strip() for text in coded.dictionary.to_pylist()]
    if asked != "*" and len(found) <= 1:
        return Table([ticks], titles)
    code = np.asarray(coded.indices)
    if asked == "*" and "" in found:
        row = int(np.flatnonzero(code == found.index(""))[0])
        _fault(name, place(row), titles["contract"], "", "the name of a contract")
    chosen = [at for at, text in enumerate(found) if asked in (text, "*")]
    if not chosen:
        there = ", ".join(map(repr, found[:_SHOWN])) + (
            f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        )
        raise ImportFault(
            f"{name}: its column {titles['contract']!r} names {there}, and not {asked!r}: name one of them with "
            "--contract, or * for all; --columns contract=- passes the column over"
        )
    parts = []
    for text in dict.fromkeys(found[at] for at in chosen):
        rows = np.flatnonzero(np.isin(code, [at for at in chosen if found[at] == text]))
        columns = {column: getattr(ticks, column)[rows] for column in ("ts_ns", "price", "size", "side")}
        parts.append(msgspec.structs.replace(ticks, contract=text, row=rows, ambiguous=0, **columns))
    parts[0] = msgspec.structs.replace(parts[0], ambiguous=ticks.ambiguous)
    return Table(parts, titles, len(ticks) - sum(map(len, parts)))


def _parquet_times(name: str, column: str, cells: pa.Array, layout: Layout) -> tuple[IntArray, TimeFormat]:
    kind = cells.type
    try:
        if pa.types.is_timestamp(kind):
            form = TimeFormat("iso", zoned=kind.tz is not None)
            return _or_row(name, column, cells, form, lambda: cells.cast(pa.timestamp("ns", kind.tz)))
        example = str(cells[0].as_py()) if len(cells) else "0"
        form = choose_format(layout.time_format, example, layout.date)
        whole = pa.types.is_integer(kind) and not pa.types.is_uint64(kind) and form.kind == "number"
        plain = pa.decimal128(19, 0) if whole else pa.utf8()
        return _or_row(name, column, cells, form, lambda: cells.cast(plain).cast(form.arrow))
    except (ValueError, pa.ArrowException) as error:
        raise ImportFault(f"{name}: column {column!r}: {error}") from None


def _or_row(
    name: str, column: str, cells: pa.Array, form: TimeFormat, read: Callable[[], pa.Array]
) -> tuple[IntArray, TimeFormat]:
    """Read times; where that fails, name the first row that the slow rule does not take."""
    try:
        return to_ns(read(), form), form
    except (ValueError, pa.ArrowException):
        for row, text in enumerate(cells.cast(pa.utf8()).to_pylist()):
            if not is_valid(text, form):
                _fault(name, f"row {row + 1}", column, text, form.wanted)
        raise


def _texts(name: str, column: str, cells: pa.Array) -> pa.Array:
    try:
        return cells.cast(pa.utf8())
    except pa.ArrowException:
        raise ImportFault(f"{name}: column {column!r} holds {cells.type}, texts are wanted") from None


def _numbers(name: str, column: str, cells: pa.Array) -> FloatArray:
    try:
        return np.asarray(cells.cast(pa.float64(), safe=False))
    except pa.ArrowException:
        raise ImportFault(f"{name}: column {column!r} holds {cells.type}, numbers are wanted") from None


def _in_utc(
    contract: str, times: IntArray, price: FloatArray, size: IntArray, side: IntArray, form: TimeFormat,
    layout: Layout, place: Any,
) -> Ticks:  # fmt: skip
    if form.is_utc:
        return Ticks(contract, times, price, size, side)
    try:
        converted = to_utc(times, layout.zone)
    except Skipped as error:
        raise ImportFault(f"{place(error.row)}: {error}") from None
    return Ticks(contract, converted.utc, price, size, side, ambiguous=converted.ambiguous)


def _fault(name: str, place: str, column: str, value: object, wanted: str) -> NoReturn:
    raise ImportFault(f"{name}, {place}, column {column!r}: {value!r} stands where {wanted} is wanted")


def _sniff(name: str, data: bytes, layout: Layout) -> _Sheet:
    """Look at the first lines."""
    head = data[:_SNIFF].decode("utf-8-sig", "replace").splitlines()
    lines = [line for line in head if line.strip()]
    if not lines:
        raise ImportFault(f"{name}: it is empty, lines of ticks are wanted")
    separator = max(",;\t|", key=lines[0].count)
    rows = list(text_csv.reader(lines[:2], delimiter=separator))
    header = None if any(_is_number(cell) for cell in rows[0]) else rows[0]
    if header is not None and len(rows) == 1:
        raise ImportFault(f"{name}: there is nothing after line 1, lines of ticks are wanted")
    first = rows[0] if header is None else rows[1]
    width = len(rows[0])
    try:
        places = column_map.match(layout.columns, header, width)
    except column_map.NoColumn as error:
        raise ImportFault(f"{name}, line 1: {error}") from None
    example = " ".join(first[places[role]].strip() for role in ("date", "time") if places.get(role, width) < len(first))
    try:
        form = choose_format(layout.time_format, example, layout.date)
    except ValueError as error:
        raise ImportFault(
            f"{name}, line {1 if header is None else 2}, column {_title(header, places['time'])!r}: {error}"
        ) from None
    return _Sheet(name, data, separator, header, width, places, form)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _title(header: Sequence[str] | None, place: int) -> str:
    return header[place] if header is not None and place < len(header) else str(place + 1)


def _convert(sheet: _Sheet) -> pa.Table | None:
    """Read the columns wanted with their types; None: some cell does not follow them."""
    names = [str(place) for place in range(sheet.width)]
    split = "date" in sheet.places
    types: dict[str, pa.DataType] = {
        "time": pa.utf8() if split else sheet.form.arrow, "date": pa.utf8(), "price": pa.float64(),
        "size": pa.int64(), "side": pa.utf8(), "contract": pa.utf8(),
    }  # fmt: skip
    for size in (pa.int64(), pa.float64()):
        types["size"] = size
        options = csv.ConvertOptions(
            column_types={str(place): types[role] for role, place in sheet.places.items()},
            include_columns=[str(place) for place in sheet.places.values()],
            null_values=[""],
            strings_can_be_null=False,
        )
        try:
            table = csv.read_csv(
                pa.BufferReader(sheet.data),
                read_options=csv.ReadOptions(column_names=names, skip_rows=0 if sheet.header is None else 1),
                parse_options=csv.ParseOptions(delimiter=sheet.separator),
                convert_options=options,
            )
            if split:
                table = _join_date(table, sheet)
        except (pa.ArrowException, ValueError):
            continue
        return table
    return None


def _join_date(table: pa.Table, sheet: _Sheet) -> pa.Table:
    """Put date and time together into the time column."""
    at = str(sheet.places["time"])
    parts = (table.column(str(sheet.places["date"])), table.column(at))
    joined = pc.binary_join_element_wise(*parts, " ")
    return table.set_column(table.schema.get_field_index(at), at, joined.cast(sheet.form.arrow))


def _sizes(cells: pa.Array, step: Fraction) -> IntArray | None:
    """Return sizes in steps; None: one is negative or no multiple."""
    if step == 1 and pa.types.is_int64(cells.type):
        whole: IntArray = np.asarray(cells)
        return None if len(whole) and int(whole.min()) < 0 else whole
    counts = np.asarray(cells.cast(pa.float64(), safe=False))
    return None if _bad_sizes(counts, step).any() else in_steps(counts, step)


def _bad_sizes(counts: FloatArray, step: Fraction) -> Any:
    finite = np.isfinite(counts)
    return ~finite | (counts < 0) | uncountable(np.where(finite, counts, 0.0), step)


def _wanted_size(step: Fraction) -> str:
    return f"a multiple of {step}, not below zero, 2^53 of them at most,"


def _sides(cells: pa.Array) -> IntArray | None:
    """Return sides as numbers; None: one is not known."""
    coded = pc.fill_null(cells, "").dictionary_encode()
    known = [SIDES.get(text.strip().lower()) for text in coded.dictionary.to_pylist()]
    if None in known:
        return None
    if not known:
        return np.zeros(0, np.int64)
    found: IntArray = np.array(known, np.int64)[np.asarray(coded.indices)]
    return found


def _rows(sheet: _Sheet) -> Iterator[tuple[int, list[str]]]:
    """Yield the file's rows with the line on which each ends, as the fast reader counts rows."""
    reader = text_csv.reader(
        io.TextIOWrapper(io.BytesIO(sheet.data), "utf-8-sig", "replace", newline=""), delimiter=sheet.separator
    )
    skip = sheet.header is not None
    for row in reader:
        if not row:
            continue
        if skip:
            skip = False
            continue
        yield reader.line_num, row


def _line_at(sheet: _Sheet, row: int) -> int:
    return next((line for i, (line, _) in enumerate(_rows(sheet)) if i == row), 0)


def _line_of(sheet: _Sheet, row: int) -> str:
    return f"{sheet.name}, line {_line_at(sheet, row)}, column {_title(sheet.header, sheet.places['time'])!r}"


def _find_fault(sheet: _Sheet, layout: Layout) -> NoReturn:
    """Raise for the first row that breaks a rule."""
    for line, row in _rows(sheet):
        place = f"line {line}"
        if len(row) != sheet.width:
            raise ImportFault(f"{sheet.name}, {place}: {len(row)} columns stand where {sheet.width} are wanted")
        cells = {role: row[at] for role, at in sheet.places.items()}
        time = f"{cells['date']} {cells['time']}" if "date" in cells else cells["time"]
        step = layout.size_step
        wanted = {
            "time": None if is_valid(time, sheet.form) else sheet.form.wanted,
            "price": None if _is_finite(cells["price"]) else "a number",
            "size": None if _is_size(cells["size"], step) else _wanted_size(step),
            "side": None if cells.get("side", "").strip().lower() in SIDES else "buy, sell or unknown",
        }
        for role, want in wanted.items():
            if want is not None:
                _fault(sheet.name, place, _title(sheet.header, sheet.places[role]), cells[role], want)
    raise ImportFault(f"{sheet.name}: its columns cannot be read, though no single line shows why: report this")


def _is_finite(text: str) -> bool:
    return _is_number(text) and math.isfinite(float(text)) and "_" not in text


def _is_size(text: str, step: Fraction) -> bool:
    return _is_finite(text) and not bool(_bad_sizes(np.array([float(text)]), step)[0])
