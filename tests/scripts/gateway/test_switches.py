import json

import msgspec
import msgspec.inspect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.scripts.gateway.switches import (
    ELEMENT_KINDS,
    MESSAGE_KINDS,
    NAMES,
    STANDING,
    WIRE_KINDS,
    BadKind,
    ChaosError,
    ChaosRequest,
    Switches,
    apply_standing,
    parse_chaos,
    parse_chaos_json,
    read_chaos,
)


def test_every_standing_switch_can_be_asked_for_and_has_the_same_type():
    asked = {field.name: field.type for field in msgspec.inspect.type_info(ChaosRequest).fields}
    assert set(asked) >= STANDING
    for field in msgspec.inspect.type_info(Switches).fields:
        assert asked[field.name] == field.type, field.name


def test_the_kinds_of_broken_things_are_all_named():
    assert set(BadKind.__args__) == set(ELEMENT_KINDS + MESSAGE_KINDS + WIRE_KINDS)
    assert not set(Switches().bad_kinds) & set(WIRE_KINDS), "what no real server sends is only sent when named"


def test_what_is_not_asked_for_stays():
    before = Switches(duplicate_pct=3, frame_max=5)
    after = apply_standing(before, parse_chaos({"bad_pct": 2}))
    assert after == msgspec.structs.replace(before, bad_pct=2)


def test_no_kinds_named_means_all_of_them():
    assert apply_standing(Switches(bad_kinds=("null_field",)), parse_chaos({"bad_kinds": []})) == Switches()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "object of switches"),
        (b'{"duplicate_pc": 1}', "did you mean 'duplicate_pct'"),
        (b'{"zzzzqqqq": 1}', "unknown switch 'zzzzqqqq'"),
        (b'{"duplicate_pct": 101}', "duplicate_pct"),
        (b'{"duplicate_pct": "much"}', "duplicate_pct"),
        (b'{"bad_kinds": ["terrible"]}', "bad_kinds"),
        (b'{"abort": "gently"}', "abort"),
        (b'{"refuse_status": 200}', "refuse_status"),
        (b'{"mute": -1}', "mute"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_says_where(body, says):
    with pytest.raises(ChaosError, match=says):
        parse_chaos_json(body)


def test_a_file_may_be_toml_or_json(tmp_path):
    toml, text = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('bad_pct = 1\nbad_kinds = ["null_element"]\nmute = 2\n')
    text.write_text(json.dumps({"bad_pct": 1, "bad_kinds": ["null_element"], "mute": 2}))
    assert read_chaos(toml) == read_chaos(text)
    assert read_chaos(toml).bad_kinds == ("null_element",)


@pytest.mark.parametrize(
    ("name", "content"), [("a.toml", b"= 1"), ("a.json", b"{"), ("a.toml", b"\xff"), ("a.toml", None)]
)
def test_a_bad_file_is_named_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ChaosError, match=name) as caught:
        read_chaos(path)
    assert "\n" not in str(caught.value)


values = st.one_of(st.none(), st.booleans(), st.floats(), st.sampled_from(["", "tcp", "market", "7"]))


@given(st.dictionaries(st.sampled_from(NAMES), values | st.lists(values, max_size=2), max_size=4))
def test_whatever_is_asked_is_either_understood_or_refused(data):
    try:
        request = parse_chaos(data)
    except ChaosError:
        return
    apply_standing(Switches(), request)
