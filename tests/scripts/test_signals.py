"""Signals: an event at first, the end of the process the second time, and an exception outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tickloom.scripts.signals import SIGNALS, Signalled, interruptible, raise_on_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers as they were, with SIGINT not ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_event_and_says_nothing(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with interruptible() as asked:
        assert not asked.is_set()
        signal.raise_signal(number)
        assert asked.is_set()
    # there may be a picture on the terminal, which a line in its middle would tear
    assert capfd.readouterr().err == ""
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    with interruptible() as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert asked.is_set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_outside_it_raises_with_the_exit_code_shells_use(number: int, code: int) -> None:
    raise_on_signals()
    with pytest.raises(Signalled) as caught:
        signal.raise_signal(number)
    assert caught.value.code == code
    assert isinstance(caught.value, KeyboardInterrupt)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_signals()
    with interruptible() as asked:
        signal.raise_signal(signal.SIGHUP)
        assert not asked.is_set()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_second_signal_leaves_whatever_is_going_on() -> None:
    script = (
        "import signal, threading\n"
        "from tickloom.scripts import signals\n"
        "signals.SAME_PRESS_S = 0.0\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "with signals.interruptible() as asked:\n"
        "    print('ready', flush=True)\n"
        "    asked.wait()\n"
        "    print('asked', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == b"asked\n"
        os.kill(process.pid, signal.SIGTERM)
        assert b"left at once" in process.stderr.readline()
        assert process.wait(20) == 143
