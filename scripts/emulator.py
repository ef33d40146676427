"""The gateway emulator as a child process: started, waited for until it listens, and never left behind."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import msgspec

from tickloom.errors import Cancelled, FeedLostError

START_S = 30.0
"""Longest the process may take until it listens."""

STOP_S = 5.0
"""Longest it may take to end before it is killed."""

ASK_S = 0.1
"""How often we ask whether to go on waiting for it."""


class Ready(msgspec.Struct, frozen=True):
    """The line the emulator prints when it listens."""

    url: str
    market_hub_url: str
    user_hub_url: str
    pid: int


class Emulator:
    """A gateway emulator of our own, for as long as the `with` block lasts. It ends with us, however we end.

    The key travels in the environment: every user of a machine can read a command line. `cancelled` is asked now and
    then while it starts; True gives up.

    Raises:
        FeedLostError: it did not start.
        Cancelled: we gave up waiting for it.
    """

    def __init__(
        self,
        contracts: Sequence[str],
        *,
        rate: float,
        user: str,
        key: str,
        options: Sequence[str] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._command = [
            sys.executable, "-m", "tickloom.scripts.gateway", "--with-parent",
            "--rate", str(rate), "--contracts", ",".join(contracts), *options,
        ]  # fmt: skip
        self._env = {**os.environ, "GATEWAY_USER": user, "GATEWAY_KEY": key}
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: Ready | None = None
        self._cancelled = cancelled

    def __enter__(self) -> Emulator:
        # its own session: a Ctrl-C is meant for us, and we end it when we have drained
        process = self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        try:
            line = self._first_line(process)
            if not line:
                code = process.wait(START_S)
                raise FeedLostError(f"the gateway emulator did not start (exit code {code}); its reason is above")
            self._ready = msgspec.json.decode(line, type=Ready)
        except BaseException:
            self.stop()
            raise
        return self

    def _first_line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Return what it says first; nothing when it ended without a word."""
        stdout = process.stdout
        assert stdout is not None
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # a thread, because nothing else can wait for a pipe with a timeout everywhere
        threading.Thread(target=lambda: lines.put(stdout.readline()), name="emulator-line", daemon=True).start()
        give_up = time.monotonic() + START_S
        while time.monotonic() < give_up:
            try:
                return lines.get(timeout=ASK_S)
            except queue.Empty:
                if self._cancelled():
                    raise Cancelled("the gateway emulator was not waited for") from None
        raise FeedLostError(f"the gateway emulator did not listen within {START_S:g} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process: ask, wait, and then insist."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:  # only now: a thread may be reading from it
            process.stdout.close()

    @property
    def ready(self) -> Ready:
        """What it said when it was ready."""
        assert self._ready is not None, "enter the block first"
        return self._ready

    @property
    def api_url(self) -> str:
        """REST base address."""
        return self.ready.url

    @property
    def market_hub_url(self) -> str:
        """Address of the market hub."""
        return self.ready.market_hub_url

    @property
    def user_hub_url(self) -> str:
        """Address of the user hub."""
        return self.ready.user_hub_url

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.ready.pid
