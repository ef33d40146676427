"""The gateway as a process: started, one JSON line when it is ready, stopped by a signal or with its parent.

Exit codes: 0 stopped in order, 2 it could not be started as told (one line on stderr says why).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import stat
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from tickloom.scripts.gateway.contracts import UnknownContractError
from tickloom.scripts.gateway.server import GatewayServer
from tickloom.scripts.gateway.settings import GatewaySettings, SettingsError
from tickloom.scripts.gateway.switches import ChaosError
from tickloom.scripts.gateway.ticks import Market

_LOOK_S: Final = 0.5
DONE, USAGE = 0, 2


def run_gateway(settings: GatewaySettings, *, market: Market | None = None) -> int:
    """Serve until SIGINT or SIGTERM (or the parent's end) and return the exit code. Blocks; main thread only.

    When it listens, one line of JSON is on stdout: `url`, `market_hub_url`, `user_hub_url`, `pid`, `contracts`.
    `market` is played instead of the model, whose contracts then are not looked up.
    """
    try:
        return asyncio.run(_serve(settings.validated(), market))
    except (UnknownContractError, SettingsError) as error:
        return _refuse(str(error))
    except ChaosError as error:
        return _refuse(f"fault switches: {error}")
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        # asyncio's own text repeats the address
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        return _refuse(
            f"cannot listen on {where}: {why.lower()}; choose another host or port, or port 0 for a free one"
        )


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"gateway: {sentence}\n")
    return USAGE


async def _serve(settings: GatewaySettings, market: Market | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    parent = os.getppid()
    async with GatewayServer(settings, market=market) as server:
        with contextlib.ExitStack() as undo:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
                undo.callback(loop.remove_signal_handler, number)
            if settings.with_parent:
                undo.callback(_watch_stdin(loop, stop.set))
            if not _announce(server):
                return DONE
            # What lives now lives on; the collector need not walk through it while ticks wait.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            stopped = asyncio.create_task(stop.wait(), name="stop")
            pump = asyncio.create_task(server.wait(), name="pump")
            try:
                while not (stopped.done() or pump.done()):
                    await asyncio.wait({stopped, pump}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                    if settings.with_parent and os.getppid() != parent:
                        stop.set()
            finally:
                for task in (stopped, pump):
                    task.cancel()
                await asyncio.gather(stopped, pump, return_exceptions=True)
    return DONE


def _announce(server: GatewayServer) -> bool:
    """Write the line that says it is ready; False if nobody is there to read it."""
    ready = {
        "url": server.url,
        "market_hub_url": server.market_hub_url,
        "user_hub_url": server.user_hub_url,
        "pid": os.getpid(),
        "contracts": list(server.engine.specs),
    }
    try:
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return False
    return True


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Callable[[], None]:
    """Call `stop` when stdin, if it is a pipe, is closed at its other end; return what ends the watch.

    A pipe tells at once and cannot miss a parent that died before this process looked; the parent's id is checked
    beside it.
    """
    try:
        number = sys.stdin.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
    except (AttributeError, OSError, ValueError):
        return lambda: None
    if not is_pipe:
        return lambda: None

    def look() -> None:
        if not os.read(number, 4096):
            stop()
            loop.remove_reader(number)

    loop.add_reader(number, look)
    return lambda: (loop.remove_reader(number), None)[1]
