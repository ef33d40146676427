"""What `doctor` finds: values, and the checks of this machine. The checks of the network are in `reaching`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tickloom.config.credentials import Credentials, CredentialsError, NoCredentialsError, load_credentials
from tickloom.config.settings import Settings
from tickloom.config.sources import Loaded, load
from tickloom.errors import UsageError
from tickloom.preflight import check_folders
from tickloom.scripts.output import exit_code, sentence, size

PACKAGES: Final = ("pykka", "aiohttp", "pyarrow", "numpy", "msgspec")
LOW_DISK: Final = 1_000_000_000
LOW_MEMORY: Final = 500_000_000
MEMINFO: Final = Path("/proc/meminfo")


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at.

    Attributes:
        name: what was looked at.
        status: `ok`, `warning` (it works, or is not needed for all), `failure`.
        found: what was found, in words, without secrets.
        advice: what to do about it; empty when there is nothing to do.
        code: what a failure ends the command with.
    """

    name: str
    status: Literal["ok", "warning", "failure"]
    found: str
    advice: str = ""
    code: int = 0


def ok(name: str, found: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, advice: str) -> Finding:
    """Return a finding that a person should know of."""
    return Finding(name, "warning", found, advice)


def failure(name: str, error: BaseException) -> Finding:
    """Return what went wrong. Our errors say in one sentence what it is and, after a colon, what to do."""
    return Finding(name, "failure", sentence(error), code=exit_code(error))


def versions() -> Finding:
    """Say which program this is, on what."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    here = f"Python {platform.python_version()} on {sys.platform} {platform.machine()}"
    return ok("versions", f"tickloom {metadata.version('tickloom')}, {here}; {packages}")


def settings(file: Path | None) -> tuple[Loaded | None, Finding]:
    """Read the settings; say which values are not the defaults, and where they come from."""
    try:
        loaded = load(file)
    except ValueError as error:
        return None, failure("settings", error)
    changed = [f"{key} ({origin})" for key, origin in loaded.provenance.items() if origin.source != "default"]
    where = str(loaded.file) if loaded.file is not None else "no file"
    return loaded, ok("settings", f"{where}; {', '.join(changed) if changed else 'all defaults'}")


def credentials(env: Mapping[str, str] | None = None) -> tuple[Credentials | None, Finding]:
    """Look for the credentials; say where they are, never what."""
    try:
        found = load_credentials(env)
    except NoCredentialsError as error:
        # demo, replay and import do without
        what, _, advice = str(error).partition(": ")
        return None, warning("credentials", what, advice)
    except CredentialsError as error:
        return None, failure("credentials", error)
    return found, ok("credentials", f"found: {found.origin}")


def zones() -> Finding:
    """Make sure that there is time zone data."""
    try:
        ZoneInfo("America/Chicago")
    except ZoneInfoNotFoundError:
        return failure("time zones", UsageError("this system has no time zone data: run `pip install tzdata`"))
    return ok("time zones", "there")


def folders(chosen: Settings) -> Iterable[Finding]:
    """Make sure that log and files can be written, and that there is room for them."""
    wanted = {"log": chosen.recorder.dir, "output": chosen.sinks.out}
    named = {purpose: Path(folder) for purpose, folder in wanted.items() if folder} or {"disk": Path.cwd()}
    for purpose, folder in named.items():
        try:
            check_folders({purpose: folder})
            yield _room(purpose, folder, chosen.recorder.retention_mb * 1_048_576 if purpose == "log" else 0)
        except (UsageError, OSError) as error:
            yield failure(purpose, error)


def _room(purpose: str, folder: Path, retained: int) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{folder}: {size(free)} free"
    if free < LOW_DISK:
        return warning(purpose, found, "make room: a day of busy markets takes a few gigabytes")
    if free < retained:
        advice = f"lower recorder.retention_mb: logs are kept up to {size(retained)} before the oldest go"
        return warning(purpose, found, advice)
    return ok(purpose, found)


def memory(chosen: Settings, meminfo: Path = MEMINFO) -> Finding:
    """Say how much memory is left for bars."""
    free = _available(meminfo)
    if free is None:
        return ok("memory", "not known on this system")
    kept = chosen.history.megabytes * 1_048_576
    found = f"{size(free)} available; bars kept in memory take up to {size(kept)}"
    if free < kept + LOW_MEMORY:
        return warning("memory", found, "lower history.megabytes, or end other programs")
    return ok("memory", found)


def _available(meminfo: Path) -> int | None:
    """Return the bytes that can be had without swapping; None where the system does not say."""
    try:
        for line in meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
