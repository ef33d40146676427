"""What a field knows of itself: types, limits, reading text, saying what it wants."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from tickloom.config.fields import Field, Section, SettingsError, fields_of, nearest


class ExampleSettings(Section, frozen=True, kw_only=True):
    """An example."""

    flag: Annotated[bool, Meta(description="A flag.")] = True
    count: Annotated[int, Meta(description="A count.", ge=1, le=10)] = 5
    share: Annotated[float, Meta(description="A share.", ge=0, le=1)] = 0.5
    name: Annotated[str, Meta(description="A name.")] = ""
    mode: Annotated[Literal["fast", "slow"], Meta(description="A mode.")] = "fast"
    names: Annotated[tuple[str, ...], Meta(description="Names.")] = ()
    ids: Annotated[tuple[int, ...], Meta(description="Ids.")] = ()


FIELDS = {field.name: field for field in fields_of(ExampleSettings)}


def test_fields_are_read_from_the_annotations_in_order():
    assert [(f.name, f.kind) for f in fields_of(ExampleSettings)] == [
        ("flag", "bool"), ("count", "int"), ("share", "float"), ("name", "str"), ("mode", "choice"),
        ("names", "texts"), ("ids", "ints"),
    ]  # fmt: skip
    count = FIELDS["count"]
    assert (count.key, count.variable) == ("example.count", "TICKLOOM__EXAMPLE__COUNT")
    assert (count.low, count.high, count.default, count.description) == (1, 10, 5, "A count.")


@pytest.mark.parametrize(
    ("name", "given", "clean"),
    [
        ("flag", False, False),
        ("count", 10, 10),
        ("share", 1, 1.0),
        ("name", "x", "x"),
        ("mode", "SLOW", "slow"),
        ("names", ["a", "b"], ("a", "b")),
        ("ids", [1], (1,)),
    ],
)
def test_a_good_value_is_kept_in_canonical_form(name, given, clean):
    value = getattr(ExampleSettings(**{name: given}), name)
    assert value == clean
    assert type(value) is type(clean)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("flag", 1, "example.flag is 1; it wants true or false"),
        ("flag", "true", "example.flag is 'true'; it wants true or false"),
        ("count", 0, "example.count is 0; it wants a whole number from 1 to 10"),
        ("count", 11, "from 1 to 10"),
        ("count", 5.0, "example.count is 5.0; it wants a whole number"),
        ("count", True, "example.count is true; it wants a whole number"),
        ("count", "5", "example.count is '5'"),
        ("share", float("nan"), "example.share is nan; it wants a number from 0 to 1"),
        ("share", float("inf"), "wants a number"),
        ("share", "half", "example.share is 'half'"),
        ("name", 7, "example.name is 7; it wants a text"),
        ("mode", "quick", 'example.mode is \'quick\'; it wants "fast" or "slow"'),
        ("mode", ["fast"], 'it wants "fast" or "slow"'),
        ("names", "a", "example.names is 'a'; it wants a list of texts"),
        ("names", [1], "wants a list of texts"),
        ("ids", ["1"], "example.ids is ['1']; it wants a list of whole numbers"),
        ("name", None, "example.name is None"),
        ("name", b"x" * 100, "..."),
    ],
)
def test_a_wrong_value_says_the_key_what_was_given_and_what_is_wanted(name, given, said):
    with pytest.raises(SettingsError) as caught:
        ExampleSettings(**{name: given})
    assert said in str(caught.value)
    assert caught.value.key == f"example.{name}"
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "true", True), ("flag", "ON", True), ("flag", "0", False), ("flag", " no ", False),
        ("flag", "maybe", "maybe"), ("count", " 7 ", 7), ("count", "1_0", 10), ("count", "7.5", "7.5"),
        ("share", "0.25", 0.25), ("share", "x", "x"),
        ("name", " x ", "x"), ("mode", "slow", "slow"),
        ("names", "a, b,,c", ("a", "b", "c")), ("names", "", ()), ("ids", "1,2", (1, 2)), ("ids", "1,x", "1,x"),
    ],
)  # fmt: skip
def test_text_is_read_by_type_and_left_alone_where_it_cannot_be(name, text, value):
    assert FIELDS[name].from_text(text) == value


@given(st.sampled_from(sorted(FIELDS)), st.text())
def test_any_text_is_a_value_or_one_line_of_error(name, text):
    field, line = FIELDS[name], f"example.{name} is fine"
    try:
        field.check(field.from_text(text))
    except SettingsError as error:
        line = str(error)
    assert line.startswith(f"example.{name} is ")
    assert "\n" not in line


def test_a_field_without_documentation_is_a_defect():
    class BareSettings(Section, frozen=True, kw_only=True):
        value: int = 1

    with pytest.raises(AssertionError, match=r"BareSettings.value is not documented"):
        BareSettings()


def test_the_nearest_word():
    assert nearest("graze_ms", ["grace_ms", "beat_ms"]) == "grace_ms"
    assert nearest("", ["one"]) == "one"


def test_a_field_is_a_value():
    assert isinstance(FIELDS["flag"], Field)
    assert fields_of(ExampleSettings) is fields_of(ExampleSettings)
