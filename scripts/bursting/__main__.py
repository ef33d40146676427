"""The command line of `scripts/burst-test`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from tickloom.scripts import output
from tickloom.scripts.bursting.run import Failed, run


def main() -> int:
    """Run from the command line; 0 when everything holds, 1 when not."""
    parser = argparse.ArgumentParser(prog="scripts/burst-test", description="See docs/performance.md.")
    parser.add_argument("--ticks", type=int, default=2_000_000, help="how many are offered")
    parser.add_argument("--prints", type=int, default=20, help="prints a frame")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tickloom-burst-") as folder:
        try:
            report = run(asked.ticks, Path(folder), prints=asked.prints)
        except Failed as error:
            output.say(f"burst-test: {error}")
            return 1
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
