"""All settings together, and what of them must agree: calendars, instruments, timeframes.

Settings are values: frozen, checked when made, the same whether they come from a file, the environment or a program.
They hold no secret, so they can go into the log and onto the screen as they are; user name and key are found by
`tickloom.config.credentials`. How the sources are read and which one wins is in `tickloom.config.sources`; the keys
themselves are in `tickloom.config.sections`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import msgspec

from tickloom.config.buckets import check_fit
from tickloom.config.calendars import Calendar, CalendarError, calendar_from, calendar_name, find_calendar, product_root
from tickloom.config.fields import SettingsError, fields_of, nearest
from tickloom.config.flags import FlagsSettings
from tickloom.config.secrets import redact_value
from tickloom.config.sections import (
    SECTIONS,
    GatewaySettings,
    HealthSettings,
    HistorySettings,
    HttpSettings,
    LoggingSettings,
    MailboxesSettings,
    PressureSettings,
    RecorderSettings,
    SessionSettings,
    SinksSettings,
    SupervisionSettings,
    ValidationSettings,
)
from tickloom.config.timeframes import Timeframe, TimeframeError


class InstrumentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings know better than the gateway of one contract (its id), or of a product (its root, like `MNQ`).

    `tick_size` is a decimal in quotes, so that it is exact; `calendar` is a calendar's name. Empty: as the gateway
    says. Prices outside `price_low` to `price_high` (decimals in quotes, in points; empty: no bound) are rejected.
    `validation` are keys of that section with other values for this one.
    """

    tick_size: str = ""
    calendar: str = ""
    price_low: str = ""
    price_high: str = ""
    validation: dict[str, Any] = {}

    @property
    def tick(self) -> tuple[int, int] | None:
        """The tick size as numerator and denominator, in lowest terms; None when it is not overridden."""
        return Fraction(Decimal(self.tick_size)).as_integer_ratio() if self.tick_size else None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. `Settings()` is the defaults; `tickloom.config.sources.load` reads the sources.

    `calendars` adds to the built-in ones or replaces them by name; `instruments` is keyed by contract id or product
    root. Both may be given as plain data (a table of the file) and come out typed.

    Raises:
        SettingsError: parts that do not go together: an unknown calendar, a timeframe that does not fit a contract's.
    """

    gateway: GatewaySettings = GatewaySettings()
    session: SessionSettings = SessionSettings()
    recorder: RecorderSettings = RecorderSettings()
    sinks: SinksSettings = SinksSettings()
    validation: ValidationSettings = ValidationSettings()
    health: HealthSettings = HealthSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    mailboxes: MailboxesSettings = MailboxesSettings()
    pressure: PressureSettings = PressureSettings()
    http: HttpSettings = HttpSettings()
    history: HistorySettings = HistorySettings()
    logging: LoggingSettings = LoggingSettings()
    flags: FlagsSettings = FlagsSettings()
    calendars: dict[str, Calendar] = {}
    instruments: dict[str, InstrumentSettings] = {}

    def __post_init__(self) -> None:
        calendars = {name: _calendar(name, entry) for name, entry in _table(self.calendars, "calendars").items()}
        instruments = {
            name: _instrument(name, entry) for name, entry in _table(self.instruments, "instruments").items()
        }
        msgspec.structs.force_setattr(self, "calendars", calendars)
        msgspec.structs.force_setattr(self, "instruments", instruments)
        for name, instrument in instruments.items():
            if instrument.calendar:
                self._calendar_named(instrument.calendar, f"instruments.{name}.calendar")
        self.check_timeframes(self.session.contracts, map(Timeframe.parse, self.session.timeframes))

    def check_timeframes(self, contracts: Iterable[str], timeframes: Iterable[Timeframe]) -> None:
        """Refuse timeframes that do not fit the sessions of contracts: prints of theirs would be in no bar.

        Raises:
            SettingsError: it names the timeframe, the calendar, the contract, and what would fit.
        """
        counted_by_time = [frame for frame in timeframes if not frame.is_activity]
        for contract in contracts:
            calendar = self.calendar_for(contract)
            for frame in counted_by_time:
                try:
                    check_fit(calendar, frame)
                except TimeframeError as error:
                    raise SettingsError(
                        f"session.timeframes: {error} (contract {contract})", "session.timeframes"
                    ) from None

    def instrument_for(self, contract: str) -> InstrumentSettings:
        """Return what is overridden for a contract: key by key by its id, else by its product's root, else nothing."""
        own, product = self.instruments.get(contract), self.instruments.get(product_root(contract))
        if own is None or product is None or contract == product_root(contract):
            return own or product or InstrumentSettings()
        texts = ("tick_size", "calendar", "price_low", "price_high")
        chosen = {name: getattr(own, name) or getattr(product, name) for name in texts}
        return InstrumentSettings(**chosen, validation={**product.validation, **own.validation})

    def validation_for(self, contract: str) -> ValidationSettings:
        """Return validation's settings for a contract: the section's, with what is overridden for it."""
        override = self.instrument_for(contract).validation
        return msgspec.structs.replace(self.validation, **override) if override else self.validation

    def calendar_for(self, contract: str) -> Calendar:
        """Return a contract's calendar: overridden, else its product's; `utc` for all while the flag is off."""
        if not self.flags.session_calendars:
            return find_calendar("utc")
        name = self.instrument_for(contract).calendar or calendar_name(contract)
        return self._calendar_named(name, f"instruments.{contract}.calendar")

    def _calendar_named(self, name: str, key: str) -> Calendar:
        try:
            return find_calendar(name, self.calendars)
        except CalendarError as error:
            raise SettingsError(f"{key}: {error}", key) from None

    def replace(self, **changes: object) -> Settings:
        """Return settings with whole sections replaced."""
        return msgspec.structs.replace(self, **changes)

    def redacted(self) -> dict[str, Any]:
        """Return everything as plain data for the log.

        A text that looks like a token is masked, though none belongs here.
        """
        plain: dict[str, Any] = {
            field.encode_name: msgspec.to_builtins(getattr(self, field.name))
            for field in msgspec.structs.fields(self)
            if field.name != "calendars"
        }
        plain["calendars"] = {name: calendar.to_dict() for name, calendar in self.calendars.items()}
        return {name: redact_value(value) for name, value in plain.items()}


DECIDING: Final = ("session", "validation", "flags")
"""The sections on which bars depend, beside calendars and instruments."""


def settings_from(plain: Mapping[str, Any], *, ignore_unknown: bool = False) -> Settings:
    """Build settings from plain data, `{section: {key: value}}`: the reverse of `redacted`.

    `ignore_unknown` passes over what this version does not have, for logs of another one: sections, keys, and values of
    sections that no bar depends on, which are then at their defaults. Calendars stand as they were recorded.

    Raises:
        SettingsError: an unknown section or key, or a value that is wrong.
    """
    sections = {field.section: kind for kind in SECTIONS for field in fields_of(kind)[:1]}
    parts: dict[str, Any] = {}
    for name, table in plain.items():
        if name == "calendars" and ignore_unknown:
            parts[name] = {each: _calendar(each, entry, recorded=True) for each, entry in _table(table, name).items()}
        elif name in ("calendars", "instruments"):
            parts[name] = table
        elif name in sections:
            keys = [field.name for field in fields_of(sections[name])]
            values = _table(table, name)
            for key in values:
                if key not in keys and not ignore_unknown:
                    raise SettingsError(
                        f"{name}.{key} is unknown: did you mean '{nearest(key, keys)}'?", f"{name}.{key}"
                    )
            try:
                parts[name] = sections[name](**{key: value for key, value in values.items() if key in keys})
            except SettingsError:
                if not ignore_unknown or name in DECIDING:
                    raise
        elif not ignore_unknown:
            known = [*sections, "calendars", "instruments"]
            raise SettingsError(f"section [{name}] is unknown: did you mean [{nearest(name, known)}]?", name)
    return Settings(**parts)


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(
            f"{name} is {type(value).__name__}; it is a section: write [{name}] and its keys below", name
        )
    return value


def _calendar(name: str, entry: Any, *, recorded: bool = False) -> Calendar:
    if isinstance(entry, Calendar):
        return entry if entry.name == name else dataclasses.replace(entry, name=name)
    try:
        return calendar_from(name, _table(entry, f"calendars.{name}"), recorded=recorded)
    except CalendarError as error:
        raise SettingsError(str(error), f"calendars.{name}") from None


def _instrument(name: str, entry: Any) -> InstrumentSettings:
    if isinstance(entry, InstrumentSettings):
        entry = msgspec.to_builtins(entry)
    keys = ("tick_size", "calendar", "price_low", "price_high", "validation")
    for key, value in _table(entry, f"instruments.{name}").items():
        where = f"instruments.{name}.{key}"
        if key not in keys:
            raise SettingsError(f"{where} is unknown: did you mean '{nearest(key, keys)}'?", where)
        if key == "validation":
            _rules(value, where)
        elif not isinstance(value, str):
            raise SettingsError(f'{where} is {value!r}; it wants a text in quotes, like "0.25"', where)
    tick = entry.get("tick_size", "")
    if tick and not _is_tick(tick):
        where = f"instruments.{name}.tick_size"
        raise SettingsError(f"{where} is '{tick}'; it wants a decimal above 0, like \"0.25\"", where)
    bounds = [_price(entry.get(key, ""), f"instruments.{name}.{key}") for key in ("price_low", "price_high")]
    if None not in bounds and bounds[0] >= bounds[1]:  # type: ignore[operator]
        where = f"instruments.{name}.price_low"
        raise SettingsError(f"{where} is {bounds[0]}; it must lie below price_high ({bounds[1]})", where)
    return InstrumentSettings(**entry)


def _rules(value: Any, where: str) -> None:
    """Refuse what are no keys and values of the section on validation."""
    fields = {field.name: field for field in fields_of(ValidationSettings)}
    for key, each in _table(value, where).items():
        if key not in fields:
            raise SettingsError(f"{where}.{key} is unknown: did you mean '{nearest(key, fields)}'?", f"{where}.{key}")
        try:
            fields[key].check(each)
        except SettingsError as error:
            raise SettingsError(f"{where}.{str(error).removeprefix('validation.')}", f"{where}.{key}") from None


def _price(text: Any, where: str) -> Decimal | None:
    """Return a price written as text; None when there is none."""
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise SettingsError(f"{where} is '{text}'; it wants a decimal in points, like \"15000\"", where)
    return value


def _is_tick(text: str) -> bool:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return False
    return value.is_finite() and 0 < value < 1_000_000 and value.as_tuple().exponent >= -18  # type: ignore[operator]
