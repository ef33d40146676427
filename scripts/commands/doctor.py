"""`tickloom doctor`: is everything there that a live session needs, and if not, what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tickloom.config.settings import Settings
from tickloom.scripts import findings
from tickloom.scripts.findings import Finding
from tickloom.scripts.output import result
from tickloom.scripts.reaching import reach


def doctor(
    config: Annotated[Path | None, typer.Option(help="Settings file; default: tickloom.toml, if there is one.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Look at this machine only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Check what a live session needs: settings, credentials, the way to the gateway, clock, disk, memory.

    Logs in and connects when there are credentials, and subscribes to nothing. Ends with 0, or the code of the first
    failure: 2 settings or folders, 3 credentials, 4 the gateway cannot be reached.

    Examples:

    ```sh
    tickloom doctor
    tickloom doctor --offline --json
    ```
    """
    found: list[Finding] = []

    def note(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            result(finding, as_json=False, text=_line(finding))

    loaded, finding = findings.settings(config)
    credentials, about = findings.credentials()
    for each in (findings.versions(), findings.zones(), finding, about):
        note(each)
    settings = loaded.settings if loaded is not None else Settings()
    for each in (*findings.folders(settings), findings.memory(settings)):
        note(each)
    if loaded is not None and not offline:

        async def look() -> None:
            async for each in reach(settings.gateway, credentials):
                note(each)

        asyncio.run(look())
    failures = [each for each in found if each.status == "failure"]
    if as_json:
        result({"ok": not failures, "findings": found}, as_json=True)
    if failures:
        raise typer.Exit(failures[0].code)


def _line(finding: Finding) -> str:
    status = finding.status.upper() if finding.status == "failure" else finding.status
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{status:<8} {finding.name:<15} {finding.found}{advice}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
