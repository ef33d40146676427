"""The settings, written out for people: a commented file for `config init`, the reference page, and `config show`.

All of it is made from the annotations of the settings themselves. A test holds `docs/configuration.md` to it.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from tickloom.config.calendars import builtin_calendars
from tickloom.config.credentials import API_KEY_VARIABLE, FILE_VARIABLE, KEYRING_SERVICE, USERNAME_VARIABLE
from tickloom.config.fields import Field, Section, fields_of
from tickloom.config.plan import render, roll_up
from tickloom.config.sections import SECTIONS
from tickloom.config.sources import Loaded
from tickloom.config.timeframes import STANDARD, Timeframe

_WIDTH = 110


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:_}" if isinstance(value, int) else repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _purpose(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _name(section: type[Section]) -> str:
    return fields_of(section)[0].section


_TABLES_TOML = """
# Calendars of your own, or in place of a built-in one: a name, a zone, sittings. A close not later than its open is on
# the next date; `days` are trading days, named for the date of the close.
# [calendars.asx_index]
# zone = "Australia/Sydney"
# days = ["mon", "tue", "wed", "thu", "fri"]
# sittings = [{ open = "17:10", close = "07:00" }, { open = "09:50", close = "16:30" }]
# breaks = []
# holidays = [2025-12-25, 2025-12-26]
# early_closes = { 2025-12-24 = "12:30" }

# What you know better than the gateway, by contract id or product root.
# [instruments."CON.F.US.MNQ.Z25"]
# tick_size = "0.25"
# calendar = "cme_equity"
# price_low = "5000"
# price_high = "50000"
# validation = { band = 0.05, max_size = 5000 }
"""


def render_default_toml() -> str:
    """Return a settings file with every key, documented and commented out at its default."""
    out = [
        "# Settings of Tickloom. Every line that is commented out shows the default.",
        "# The environment (TICKLOOM__SECTION__KEY) goes before this file, the command line before both.",
        "# No user name and no key belong in here: see `tickloom doctor`.",
    ]
    for section in SECTIONS:
        out += ["", *_comment(_purpose(section)), f"[{_name(section)}]"]
        for field in fields_of(section):
            limits = f" ({field.wants})" if field.kind in ("int", "float", "choice") else ""
            out += [*_comment(f"{field.description}{limits}"), f"# {field.name} = {toml_value(field.default)}"]
    return "\n".join(out) + "\n" + _TABLES_TOML


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def render_show(loaded: Loaded) -> str:
    """Return the settings in force, each with where it came from, and the roll-up plan: `tickloom config show`."""
    out = [f"# file: {loaded.file or 'none'}"]
    for section in SECTIONS:
        name = _name(section)
        out += ["", f"[{name}]"]
        for field in fields_of(section):
            line = f"{field.name} = {toml_value(getattr(getattr(loaded.settings, name), field.name))}"
            out.append(f"{line:<48}  # {loaded.provenance[field.key]}")
    for name, calendar in loaded.settings.calendars.items():
        sittings = ", ".join(map(str, calendar.sittings))
        out += [
            "",
            f"# calendar {name}: {calendar.zone}, {sittings}  # {loaded.provenance.get(f'calendars.{name}', 'given')}",
        ]
    for name, instrument in loaded.settings.instruments.items():
        what = ", ".join(
            f"{key} {value}"
            for key, value in (
                ("tick size", instrument.tick_size),
                ("calendar", instrument.calendar),
                ("from", instrument.price_low),
                ("to", instrument.price_high),
                *((f"validation.{key}", toml_value(value)) for key, value in instrument.validation.items()),
            )
            if value
        )
        out += [
            "",
            f"# instrument {name}: {what or 'nothing'}  # {loaded.provenance.get(f'instruments.{name}', 'given')}",
        ]
    for contract in loaded.settings.session.contracts:
        out.append(f"# {contract} follows calendar {loaded.settings.calendar_for(contract).name}")
    plan = render(roll_up(map(Timeframe.parse, loaded.settings.session.timeframes)))
    return "\n".join([*out, "", "# roll-up plan", *(f"#   {line}" for line in plan.splitlines())]) + "\n"


def render_reference_markdown() -> str:
    """Return `docs/configuration.md`."""
    calendars = "\n".join(
        f"| `{name}` | {calendar.title} | {calendar.zone} |" for name, calendar in builtin_calendars().items()
    )
    sections = "\n\n".join(_section_markdown(section) for section in SECTIONS)
    return f"""\
# Configuration

<!-- Written by tickloom.config.reference from the settings themselves; a test holds this page to them. -->

Settings come from four places; a later one wins:

1. the defaults below;
2. one TOML file: the one named with `--config`, else `tickloom.toml` in the working directory, else
   `~/.config/tickloom/config.toml` (`$XDG_CONFIG_HOME` is heeded);
3. the environment: `TICKLOOM__SECTION__KEY`, lists separated by commas
   (`TICKLOOM__SESSION__TIMEFRAMES=1s,1m,1h`);
4. the command line's flags, or what an embedding program passes.

`tickloom config init` writes a commented file, `tickloom config show` prints what is in force and where each value came
from, `tickloom config check` says what is wrong. An unknown key is an error that names the nearest one.

## Credentials

User name and API key are never settings and never arguments. The first of these that has them wins:

1. the environment: `{USERNAME_VARIABLE}` and `{API_KEY_VARIABLE}`;
2. a file with `username = "…"` and `api_key = "…"`: the one `{FILE_VARIABLE}` names, else
   `~/.config/tickloom/credentials.toml`. It must be yours, with mode 0600: one that others can read is refused;
3. the system's keyring, with the extra `keyring`: `keyring set {KEYRING_SERVICE} username` and
   `keyring set {KEYRING_SERVICE} api_key`.

## Timeframes

{" ".join(f"`{name}`" for name in STANDARD)},
and any other `<n>` with `s`, `m`, `h` (to 24 h), `d`, `w`, `mo`, `t` (ticks) or `v` (volume). Long names are taken too:
`1min`, `5sec`, `1hr`, `1day`, `100ticks`. Clock widths are the same in other units (`60s` is `1m`); days are trading
days, so `24h` is not `1d`.

- Intraday bars count from the open of their sitting, in elapsed time, and end with it: the last may be short. An
  intraday timeframe must divide 24 hours or every sitting of its calendar, and not be longer than the longest sitting:
  `4h` fits a 23-hour session, `7m` is refused.
- A day is a trading day, from its first sitting's open to its last one's close, named for the date of the close. Weeks
  (Monday to Sunday) and months are made of trading days.
- Trades between sittings are in bars of their own: intraday ones count from the close before, and the `1d` one is the
  time between those two trading days. No trading day's figures are touched by them.
- When the clock changes, elapsed time goes on: a 25-hour day has 25 bars of `1h`.

## Calendars

| name | hours | zone |
|---|---|---|
{calendars}

A contract follows its product's calendar; one whose product is not known follows `utc`. `24/7@Zone/City` is a day from
midnight to midnight in that zone. Your own:

```toml
[calendars.asx_index]
zone = "Australia/Sydney"
days = ["mon", "tue", "wed", "thu", "fri"]     # trading days, named for the date of the close; default: all seven
sittings = [
    {{ open = "17:10", close = "07:00" }},       # a close not later than the open: it began the evening before
    {{ open = "09:50", close = "16:30" }},       # a sitting may have its own `days`
]
breaks = [{{ open = "12:30", close = "12:45" }}] # a pause within a sitting: closed, but bars count on across it
holidays = [2025-12-25]                        # trading days without a sitting
early_closes = {{ 2025-12-24 = "12:30" }}        # trading days that end early

[instruments."CON.F.US.MNQ.Z25"]               # a contract id, or a product root like MNQ
tick_size = "0.25"                             # in quotes, so that it is exact
calendar = "cme_equity"
price_low = "5000"                             # in points: prices outside are rejected as out_of_range
price_high = "50000"
validation = {{ band = 0.05, max_size = 5000 }}  # any key of [validation], for this one alone
```

A local time that the clock skips means the moment of the change; one that comes twice means its first coming.

The calendars above are without holidays, which exchanges set year by year. `tickloom config holidays cme_equity
--from 2025 --to 2027` prints a calendar with its holidays and early closes, from the package pandas_market_calendars
(`pip install 'tickloom[holidays]'`), as lines for the settings file: look them over, they replace the built-in
calendar of that name.

{sections}
"""


def _section_markdown(section: type[Section]) -> str:
    rows = "\n".join(
        f"| `{field.name}` | `{toml_value(field.default)}` | {_meaning(field)} |" for field in fields_of(section)
    )
    return f"## [{_name(section)}]\n\n{_purpose(section)}\n\n| key | default | meaning |\n|---|---|---|\n{rows}"


def _meaning(field: Field) -> str:
    if field.kind == "choice":
        return f"{field.description} One of {', '.join(f'`{choice}`' for choice in field.choices)}."
    if field.low is not None:
        return f"{field.description} {field.wants[0].upper()}{field.wants[1:]}."
    return field.description


if __name__ == "__main__":
    sys.stdout.write(render_reference_markdown())
