"""What an engine loads: building and keeping bars takes neither Arrow nor an HTTP library; who wants tables loads it."""

from __future__ import annotations

import subprocess
import sys

ENGINE = """
import sys
from tickloom.config.settings import settings_from
from tickloom.engine import Engine
from tickloom.messages.control import SessionStarted, SessionStopped
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.market import NS, Instrument, Prints
from tickloom.wiring import VALIDATION, Wires

START = 1_750_000_000 * NS
engine = Engine(Wires(settings=settings_from({"session": {"timeframes": ["1s", "1m"]}}), session="s"))
engine.start()
put = engine.tree.ref(VALIDATION).put
put(Numbered(1, SessionStarted(recv_ns=START, version="", settings={}, instruments=(Instrument("C", 1, 4),),
                               timeframes=("1s", "1m"))))
prints = Prints(("C",), [0, 0], [START, START + NS], [100.25, 100.5], [1, 2], [0, 1], [0, 0], 0)
put(Numbered(2, Frames("test", [START + NS], [1], None, prints)))
put(Numbered(3, SessionStopped(recv_ns=START + 2 * NS)))
engine.drain()
summary = engine.summary(received=2, seconds=1.0, gaps=0, log=None, out=None, latency=False)
assert (summary.lost, summary.bars) == (0, 3), summary
loaded = [name for name in ("pyarrow", "aiohttp", "rich", "typer", "polars", "pandas") if name in sys.modules]
assert not loaded, loaded
assert engine.table("C", "1s").num_rows == 2
assert "pyarrow" in sys.modules
engine.stop()
"""


def test_bars_are_built_and_kept_without_arrow_and_without_an_http_library() -> None:
    done = subprocess.run([sys.executable, "-c", ENGINE], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
