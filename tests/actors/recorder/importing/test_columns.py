from __future__ import annotations

import pytest

from tickloom.actors.recorder.importing.columns import DEFAULT, NoColumn, match, parse_map


@pytest.mark.parametrize(
    ("text", "header", "width", "places"),
    [
        (DEFAULT, None, 4, {"time": 0, "price": 1, "size": 2, "side": 3}),
        (DEFAULT, None, 3, {"time": 0, "price": 1, "size": 2}),
        (DEFAULT, ["DateTime", "Price", "Volume"], 3, {"time": 0, "price": 1, "size": 2}),
        (None, ["nr", "qty", "px", "side", "ts"], 5, {"time": 4, "price": 2, "size": 1, "side": 3}),
        (None, None, 3, {"time": 0, "price": 1, "size": 2}),
        (None, ["symbol", "qty", "px", "ts"], 4, {"time": 3, "price": 2, "size": 1, "contract": 0}),
        (
            "time=ts,price=px,size=qty",
            ["symbol", "qty", "px", "ts"],
            4,
            {"time": 3, "price": 2, "size": 1, "contract": 0},
        ),
        ("time=ts,price=px,size=qty,contract=-", ["symbol", "qty", "px", "ts"], 4, {"time": 3, "price": 2, "size": 1}),
        ("-,time,price,size", ["symbol", "time", "price", "size"], 4, {"time": 1, "price": 2, "size": 3}),
        ("time,price,size,contract=5", None, 5, {"time": 0, "price": 1, "size": 2, "contract": 4}),
        (DEFAULT, ["a", "b", "c"], 3, {"time": 0, "price": 1, "size": 2}),
        ("-,time,-,price,size", None, 6, {"time": 1, "price": 3, "size": 4}),
        ("time=When,price=2,size=Lots", ["When", "x", "Lots"], 3, {"time": 0, "price": 1, "size": 2}),
        ("time,price,size=volume", ["time", "bid", "volume"], 3, {"time": 0, "price": 1, "size": 2}),
        ("date,time,price,size", None, 4, {"date": 0, "time": 1, "price": 2, "size": 3}),
    ],
)
def test_columns_are_found_by_name_by_number_and_by_place(text, header, width, places):
    assert match(text, header, width) == places


@pytest.mark.parametrize(
    ("text", "header", "width", "words"),
    [
        (None, ["time", "bid", "ask"], 3, "no column for price among 'time', 'bid', 'ask': say --columns price=NAME"),
        (
            None,
            ["timestamp", "open", "high", "low", "close", "volume"],
            6,
            "no column for price among 'timestamp', 'open'",
        ),
        (None, ["a", "b", "c"], 3, "no column for time among 'a', 'b', 'c'"),
        ("time,price", ["a", "b"], 2, "no column for size among 'a', 'b': say --columns size=NAME"),
        (DEFAULT, None, 2, "no column for size among 2 columns"),
        ("time,price,size=vol", ["time", "price", "size"], 3, "no column 'vol' for size among 'time', 'price', 'size'"),
        ("time,price,size=9", None, 3, "no column '9' for size among 3 columns and no header"),
        ("time,prise,size", None, 3, "names 'prise'; roles are time, price"),
        ("time,price,price", None, 3, "names price twice"),
    ],
)
def test_a_role_without_a_column_says_what_there_is(text, header, width, words):
    with pytest.raises(NoColumn, match=words):
        match(text, header, width)


def test_a_column_can_be_passed_over():
    assert parse_map("time, -, price=last ,_") == [("time", None), (None, None), ("price", "last"), (None, None)]
