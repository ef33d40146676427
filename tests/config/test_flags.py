"""Thirteen flags, one for each row of the design's table, all on, each with a documented effect when off."""

from __future__ import annotations

import re

import msgspec
import pytest

from tickloom.config.fields import fields_of
from tickloom.config.flags import FlagsSettings
from tickloom.config.settings import Settings

NAMES = [field.name for field in fields_of(FlagsSettings)]


def test_there_are_thirteen_numbered_in_order_and_all_on():
    numbers = [int(re.match(r"(\d+), ", field.description)[1]) for field in fields_of(FlagsSettings)]
    assert numbers == list(range(1, 14))
    assert all(getattr(FlagsSettings(), name) for name in NAMES)


def test_each_says_what_is_different_when_it_is_off():
    assert all(" Off: " in field.description for field in fields_of(FlagsSettings))


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_turned_off_alone(name):
    flags = FlagsSettings(**{name: False})
    assert [other for other in NAMES if not getattr(flags, other)] == [name]


def test_without_session_calendars_every_contract_has_utc():
    settings = Settings(flags=FlagsSettings(session_calendars=False), instruments={"MNQ": {"calendar": "cme_grains"}})
    assert settings.calendar_for("CON.F.US.MNQ.Z25").name == "utc"
    assert (
        msgspec.structs.replace(settings, flags=FlagsSettings()).calendar_for("CON.F.US.MNQ.Z25").name == "cme_grains"
    )
