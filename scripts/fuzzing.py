"""The command line of `scripts/fuzz`: looks for bytes that break the way in (`breaking.exercise`).

Modules are imported late, because atheris must see them come to follow what they do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

FOLLOWED: Final = ["tickloom.actors.connection", "tickloom.actors.validation", "tickloom.messages", "tickloom.scripts"]
"""What is to be covered."""


def with_atheris(seconds: float, corpus: Path) -> None:
    """Let atheris look for inputs, guided by coverage. It ends the process: 0 when nothing was found."""
    import atheris

    with atheris.instrument_imports(include=FOLLOWED):
        from tickloom.scripts.breaking import exercise, seeds
    folder = Path(tempfile.mkdtemp(prefix="tickloom-fuzz-"))
    for number, seed in enumerate(seeds(corpus)):
        (folder / f"{number:04}").write_bytes(seed)
    options = [f"-max_total_time={max(int(seconds), 1)}", "-max_len=16384", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], *options, str(folder)], exercise)
    atheris.Fuzz()


def with_mutations(seconds: float, corpus: Path, seed: int) -> None:
    """Break recorded frames at random, for so long."""
    from tickloom.scripts.breaking import seeds, with_mutations

    tried = with_mutations(seconds, seeds(corpus), seed, _complain)
    sys.stdout.write(f'{{"tried": {tried}, "broken": 0}}\n')


def _complain(words: str) -> None:
    sys.stderr.write(words + "\n")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Look for bytes that break the way in.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the mutations, without atheris")
    parser.add_argument("--corpus", type=Path, default=Path("tests/actors/connection/golden"), help="recorded frames")
    parser.add_argument("--plain", action="store_true", help="mutations at random though atheris is there")
    asked = parser.parse_args()
    if not asked.plain:
        try:
            import atheris  # noqa: F401 - whether it is there
        except ImportError:
            sys.stderr.write(
                "fuzz: atheris is not installed (pip install 'tickloom[fuzz]'); frames are broken at random\n"
            )
        else:
            with_atheris(asked.seconds, asked.corpus)
    with_mutations(asked.seconds, asked.corpus, asked.seed)


if __name__ == "__main__":
    main()
