"""The short form of the torture; the long one is `torture.py`, run by hand or with TICKLOOM_LONG=1."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

LONG = bool(os.environ.get("TICKLOOM_LONG"))


@pytest.mark.timeout(240)
def test_under_random_kills_no_producer_is_stuck_no_ask_unresolved_and_no_thread_left():
    torture = runpy.run_path(str(Path(__file__).with_name("torture.py")))["torture"]
    figures = torture(seconds=60 if LONG else 2, actors=300 if LONG else 100)
    assert figures["incarnations"] > (1000 if LONG else 150)
    assert figures["replied"] > 0
    assert figures["accepted"] > 0
