"""A live view is drawn by a thread of its own; a terminal that is not read holds up nobody else."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console
from rich.text import Text

from tickloom.scripts import painting
from tickloom.scripts.painting import Painter, terminal

WIDTH, HEIGHT = 80, 24


@contextmanager
def pty(width: int = WIDTH, height: int = HEIGHT) -> Iterator[tuple[int, TextIO]]:
    """A terminal: the end a person reads, and the end a program writes to."""
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
    os.close(reader)


def fill(stream: TextIO) -> None:
    """Write to a terminal until it takes no more."""
    own = os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        while True:
            os.write(own, b"x")
    except BlockingIOError:
        os.close(own)


def read_until(reader: int, words: bytes) -> bytes:
    text = b""
    while words not in text:
        assert select.select([reader], [], [], 10)[0], text
        text += os.read(reader, 65536)
    return text


@pytest.fixture(autouse=True)
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich asks the process's own streams for the size, which a test has not; it takes these words for it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("LINES", str(HEIGHT))


def test_what_is_shown_last_is_on_the_terminal() -> None:
    with pty() as (reader, stream):
        console = terminal(stream)
        assert console is not None
        with Painter(console) as painter:
            for number in range(50):
                painter.show(Text(f"view {number:02}"))
        assert b"view 49" in read_until(reader, b"view 49")


def test_a_terminal_that_is_not_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "LAST_S", 0.05)
    before = (sys.stdout, sys.stderr)
    with pty() as (reader, stream):
        console = terminal(stream)
        assert console is not None
        fill(stream)
        with Painter(console) as painter:
            for number in range(10_000):
                painter.show(Text(f"view {number}"))
        stuck = [thread for thread in threading.enumerate() if thread.name == "tickloom-painter"]
        assert len(stuck) == 1
        assert (sys.stdout, sys.stderr) == before
        # and when it is read again, the thread ends by itself
        drained = threading.Thread(target=read_until, args=(reader, b"view 9999"))
        drained.start()
        stuck[0].join(10)
        assert not stuck[0].is_alive()
        drained.join(10)


@pytest.mark.parametrize(("width", "height"), [(59, 24), (80, 11)])
def test_a_terminal_that_is_too_small_has_no_view(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    with pty() as (_, stream):
        assert terminal(stream) is None


def test_what_is_no_terminal_has_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        assert terminal(stream) is None
    os.close(reader)
    assert terminal(None) is None
    monkeypatch.setenv("TERM", "dumb")
    with pty() as (_, stream):
        assert terminal(stream) is None


def test_a_terminal_that_has_gone_ends_the_painting_and_nothing_else() -> None:
    file = Path(os.devnull).open()  # noqa: SIM115 - a stream that refuses every write, and that the painter closes
    with Painter(Console(file=file, force_terminal=True)) as painter:
        painter.show("nobody sees it")
    assert not [thread for thread in threading.enumerate() if thread.name == "tickloom-painter"]
