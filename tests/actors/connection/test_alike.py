from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.actors.connection.alike import ENOUGH, FormReader, form_of
from tickloom.actors.connection.decode import Decoder, _plain
from tickloom.messages.market import as_list
from tickloom.messages.stamps import StampParser, format_stamp

STAMP = "2026-01-02T03:04:05.1234567+00:00"
NAMES = ("CON.F.US.MNQ.H25", "CON.F.US.MNQ.H26", "CON.F.US.EP.Z25", "CON.Ü.Z25")


def trade(name=NAMES[0], price="21000.25", stamp=STAMP, kind="0", volume="1") -> bytes:
    print_ = f'{{"symbolId":"F.US.X","price":{price},"timestamp":"{stamp}","type":{kind},"volume":{volume}}}'
    return f'{{"type":1,"target":"GatewayTrade","arguments":["{name}",[{print_}]]}}\x1e'.encode()


def one_by_one(payloads: list[bytes]) -> dict[int, tuple]:
    """What the typed decoder makes of each payload by itself: index -> row, for those that hold one print."""
    found = {}
    for index, payload in enumerate(payloads):
        prints = Decoder().decode("market/1", [payload], [0], [0]).prints
        if prints is not None and len(prints) == 1:
            (price,) = prints.price
            columns = (prints.ts_ns, prints.size, prints.side)
            found[index] = (prints.contracts[prints.contract[0]], repr(float(price)), *(int(c[0]) for c in columns))
    return found


def together(payloads: list[bytes], few: int = 1) -> tuple[dict[int, tuple], list[int]]:
    found = FormReader(_plain, StampParser(), few=few).read(payloads)
    if found is None:
        return {}, list(range(len(payloads)))
    prices = [repr(float(price)) for price in found.price]
    columns = (found.ts_ns.tolist(), found.size.tolist(), found.side.tolist())
    names = [found.contracts[index] for index in found.contract]
    return dict(zip(found.message.tolist(), zip(names, prices, *columns, strict=True), strict=True)), found.rest


digits = st.text("0123456789", min_size=1, max_size=6)
numbers = st.builds(
    lambda sign, whole, rest: sign + whole + rest,
    st.sampled_from(["", "", "-"]),
    digits,
    st.one_of(st.just(""), digits.map(".{}".format)),
)
odd = st.sampled_from(
    [
        "1e3",
        "1E-2",
        "NaN",
        "-",
        "",
        "null",
        "01",
        "00",
        "-0",
        "-0.00",
        "123456789012345678",
        "0.1234567890123456",
        '"1"',
    ]
)
instants = st.integers(0, 2 * 10**9).map(lambda ns: format_stamp(1_767_322_999_000_000_000 + ns))
stamps = st.one_of(
    instants,
    instants.map(lambda text: text[:-1] + "-05:30"),
    st.sampled_from(["2026-13-01T00:00:00Z", "2026-01-02T03:04:61Z", "", STAMP[:-6]]),
)
messages = st.one_of(
    st.builds(
        trade,
        st.sampled_from(NAMES),
        st.one_of(numbers, numbers, numbers, odd),
        stamps,
        st.sampled_from("00111278"),
        st.one_of(st.integers(0, 120).map(str), odd),
    ),
    st.sampled_from(
        [
            trade() + trade(),
            trade()[:-20],
            trade().replace(b":", b": "),
            trade(name='a\\"price\\":5,'),
            trade().replace(b'"symbolId":"F.US.X"', b'"price":4,"volume":7'),
            trade().replace(b'"symbolId":"F.US.X"', b'"more":{"price":4,"type":1}'),
            trade().replace(b"]]}", b',{"price":1,"timestamp":"2026-01-02T03:04:05Z","type":0,"volume":1}]]}'),
            trade().replace(b'{"type":1,"target":"GatewayTrade",', b'{"target":"GatewayTrade","type":1,'),
            b'{"type":6}\x1e',
            b"\xff\xfe\x1e",
            b"",
        ]
    ),
)  # fmt: skip


@given(st.lists(messages, max_size=40), st.integers(1, 4))
def test_what_is_read_together_is_what_each_message_says_by_itself(payloads, few):
    found, rest = together(payloads, few)
    alone = one_by_one(payloads)
    assert sorted([*found, *rest]) == list(range(len(payloads)))
    assert found == {index: alone[index] for index in found}


whole = st.integers(0, 10**6).map(str)
plain_numbers = st.one_of(whole, st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), whole, digits))


@given(st.lists(st.tuples(plain_numbers, st.integers(1, 99)), min_size=1, max_size=20))
def test_every_plain_message_is_read_together(values):
    """Were forms refused for no reason, everything would still be right, and slow."""
    payloads = [trade(price=price, volume=str(volume)) for price, volume in values]
    found, rest = together(payloads)
    assert rest == []
    assert found == one_by_one(payloads)


def test_a_digit_of_the_contract_is_not_one_of_the_price():
    payloads = [trade(NAMES[i % 2], volume=str(i % 9 + 1)) for i in range(10)]
    assert [row[0] for _, row in sorted(together(payloads)[0].items())] == [NAMES[i % 2] for i in range(10)]


@pytest.mark.parametrize(
    "message",
    [
        trade(price="1e5"),
        trade(price="1234567890123456"),
        trade(volume="1.0"),
        trade(kind="2"),
        trade(name="back\\\\slash"),
        trade(name="two words"),
        trade().replace(b'"symbolId":"F.US.X"', b'"more":{"price":1}'),
        trade() + trade(),
        b'{"type":6}\x1e',
    ],
)
def test_a_message_that_leaves_room_for_doubt_has_no_form(message):
    assert form_of(message, _plain) is None


def test_a_batch_large_enough_is_what_its_halves_are():
    """Forms are used from `ENOUGH` frames on; below, every frame is decoded by itself."""
    odd_ones = (trade() + trade(price="7"), b'{"type":6}\x1e', trade(stamp="never"), trade(price="NaN"))
    payloads = [
        odd_ones[i // 97 % 4] if i % 97 == 0
        else trade(NAMES[i % 4], f"{21000 + i % 7}{('', '.5', '.25')[i % 3]}", format_stamp(1_767_322_999_000_000_000 + i * 1_000_100), str(i & 1), str(i % 11))
        for i in range(ENOUGH)
    ]  # fmt: skip
    halves, whole = Decoder(5), Decoder(5)
    expected = [row for half in (payloads[: ENOUGH // 2], payloads[ENOUGH // 2 :]) for row in rows(halves, half)]
    found = rows(whole, payloads)
    assert found == expected
    assert halves.next_tick == whole.next_tick
    assert math.isnan(float(next(row[2] for row in expected if row[2] == "nan")))


def rows(decoder: Decoder, payloads: list[bytes]) -> list[tuple]:
    frames = decoder.decode("market/1", payloads, [0] * len(payloads), [0] * len(payloads))
    prints = frames.prints
    assert prints is not None
    columns = (prints.ts_ns, prints.size, prints.side)
    names = [prints.contracts[index] for index in as_list(prints.contract)]
    ticks = range(prints.first_tick, prints.first_tick + len(prints))
    return list(zip(ticks, names, map(repr, as_list(prints.price)), *map(as_list, columns), strict=True))
