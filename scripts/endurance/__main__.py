"""The command line of `scripts/interop-soak`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from tickloom.scripts import output
from tickloom.scripts.endurance.aspnet import NoGateway
from tickloom.scripts.endurance.plan import Faults
from tickloom.scripts.endurance.run import Failed, run

MINUTE = 60.0
SHORT = Faults(aborts=3, half_open=1, refused=2, logins=1, stalls=1)
HOUR = Faults(aborts=120, half_open=30, refused=24, logins=18, stalls=12)


def main() -> int:
    """Run from the command line; 0 when everything holds, 1 when not, 2 when something needed is missing."""
    parser = argparse.ArgumentParser(prog="scripts/interop-soak", description="See docs/performance.md.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hour", action="store_true", help="an hour instead of ten minutes")
    length.add_argument("--short", action="store_true", help="80 seconds with few faults, to try it")
    parser.add_argument("--rate", type=float, default=2000, help="ticks a second of each of three contracts")
    parser.add_argument("--seed", type=int, default=1, help="of the order of faults")
    parser.add_argument("--stateful", action="store_true", help="the gateway offers stateful reconnect")
    parser.add_argument("--log", type=Path, help="folder to keep the log in; default: a temporary one")
    asked = parser.parse_args()
    seconds, faults = (60 * MINUTE, HOUR) if asked.hour else (80.0, SHORT) if asked.short else (10 * MINUTE, Faults())
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = run(
                seconds,
                asked.log or Path(folder),
                rate=asked.rate,
                faults=faults,
                seed=asked.seed,
                stateful=asked.stateful,
                progress=output.say,
            )
        except Failed as error:
            output.say(f"interop-soak: {error}")
            return 1
        except NoGateway as error:
            output.say(f"interop-soak: {error}")
            return 2
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
