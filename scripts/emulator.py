"""The gateway emulator as a child process: started, waited for until it listens, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

import msgspec

from tickloom.errors import FeedLostError

START_S = 30.0


class Ready(msgspec.Struct, frozen=True):
    """The line the emulator prints when it listens."""

    url: str
    market_hub_url: str
    user_hub_url: str
    pid: int


class Emulator:
    """A gateway emulator of our own, for as long as the `with` block lasts. It ends with us, however we end.

    The key travels in the environment: every user of a machine can read a command line.
    """

    def __init__(
        self, contracts: Sequence[str], *, rate: float, user: str, key: str, options: Sequence[str] = ()
    ) -> None:
        self._command = [
            sys.executable, "-m", "tickloom.scripts.gateway", "--with-parent",
            "--rate", str(rate), "--contracts", ",".join(contracts), *options,
        ]  # fmt: skip
        self._env = {**os.environ, "GATEWAY_USER": user, "GATEWAY_KEY": key}
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: Ready | None = None

    def __enter__(self) -> Emulator:
        # its own session: a Ctrl-C is meant for us, and we end it when we have drained
        process = self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            code = process.wait(START_S)
            self.stop()
            raise FeedLostError(f"the gateway emulator did not start (exit code {code}); its reason is above")
        self._ready = msgspec.json.decode(line, type=Ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process: ask, wait, and then insist."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

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
