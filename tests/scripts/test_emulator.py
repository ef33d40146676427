"""The emulator as our child: it is there when the block begins, and gone when it ends, however it ends."""

from __future__ import annotations

import threading
import urllib.request

import psutil
import pytest

from tickloom.errors import Cancelled, FeedLostError
from tickloom.scripts.emulator import Emulator

CONTRACT = "CON.F.US.EP.Z25"


def emulator(**options: object) -> Emulator:
    return Emulator((CONTRACT,), rate=10, user="tester", key="canary-key-4711", **options)  # type: ignore[arg-type]


def test_it_answers_within_the_block_and_is_gone_after_it() -> None:
    with emulator() as running:
        with urllib.request.urlopen(running.api_url + "/api/Status/ping", timeout=10) as answer:
            assert answer.status == 200
        process = psutil.Process(running.pid)
        assert "canary" not in " ".join(process.cmdline())
        assert running.market_hub_url == running.api_url + "/hubs/market"
        assert running.user_hub_url == running.api_url + "/hubs/user"
    assert psutil.wait_procs([process], timeout=10)[1] == []


def test_it_is_gone_after_an_exception_as_well() -> None:
    with pytest.raises(psutil.NoSuchProcess), emulator() as running:  # noqa: PT012
        process = psutil.Process(running.pid)
        psutil.Process(2**22 + 1)
    assert psutil.wait_procs([process], timeout=10)[1] == []


def test_one_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FeedLostError, match=r"did not start \(exit code 2\)"), emulator(options=["--port", "99999"]):
        raise AssertionError("it is not there")
    assert "port: expected" in capfd.readouterr().err


def test_waiting_for_it_can_be_called_off_and_leaves_nothing() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(Cancelled), emulator(cancelled=lambda: True):
        raise AssertionError("it was not waited for")
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert psutil.wait_procs(left, timeout=10)[1] == []
    reader = [thread for thread in threading.enumerate() if thread.name == "emulator-line"]
    for thread in reader:
        thread.join(10)
        assert not thread.is_alive()
