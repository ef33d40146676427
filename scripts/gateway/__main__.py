"""`python -m tickloom.scripts.gateway`: the emulator from the command line. The account comes from the environment."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tickloom.scripts.gateway.contracts import DEFAULT_CONTRACTS
from tickloom.scripts.gateway.run import USAGE, run_gateway
from tickloom.scripts.gateway.settings import GatewaySettings
from tickloom.scripts.gateway.switches import ChaosError, ChaosRequest, read_chaos
from tickloom.scripts.gateway.tokens import Account


def _tell(error: Exception) -> None:
    sys.stderr.write(f"gateway: the playback ends here: {error}\n")


def gateway(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.")] = 0,
    rate: Annotated[float, typer.Option(help="Ticks a second, all contracts together.")] = 200.0,
    contracts: Annotated[str, typer.Option(help="Contract ids, separated by commas.")] = ",".join(DEFAULT_CONTRACTS),
    steady: Annotated[bool, typer.Option(help="An even flow, without bursts and quiet spells.")] = False,
    seed: Annotated[int, typer.Option(help="Changes the market.")] = 0,
    chaos_seed: Annotated[int, typer.Option(help="Changes which ticks faults pick.")] = 1,
    token_ttl: Annotated[float, typer.Option(help="Seconds a token lives.")] = 86_400.0,
    allow_query: Annotated[bool, typer.Option(help="Take ?access_token= as well.")] = False,
    batch_max: Annotated[int, typer.Option(help="Prints an array at most; 0: each trade its own array.")] = 0,
    frame_max: Annotated[int, typer.Option(help="Messages a frame at most; 0: no limit.")] = 1,
    coalesce_ms: Annotated[float, typer.Option(help="Trades gather for so long before they are sent.")] = 0.0,
    rate_limits: Annotated[bool, typer.Option(help="429 as documented.")] = True,
    user_event_s: Annotated[float, typer.Option(help="Seconds between two events of the user hub.")] = 1.0,
    from_log: Annotated[
        Path | None,
        typer.Option(help="Play this log's ticks instead of the model's; quotes and depth are made from them."),
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than recorded.")] = 1.0,
    keep_stamps: Annotated[bool, typer.Option(help="Leave the recorded stamps on the ticks.")] = False,
    hold: Annotated[
        bool,
        typer.Option(help="Begin to play the log half a second after the first subscription to trades, not at once."),
    ] = True,
    chaos: Annotated[Path | None, typer.Option(help="JSON or TOML file of fault switches.")] = None,
    with_parent: Annotated[bool, typer.Option(help="Stop when the starting process ends.")] = False,
) -> None:
    """Serve an emulated ProjectX gateway. GATEWAY_USER and GATEWAY_KEY name the account (demo, demo-key)."""
    try:
        settings = GatewaySettings(
            host=host,
            port=port,
            contracts=tuple(part.strip() for part in contracts.split(",") if part.strip()),
            rate=rate,
            lively=not steady,
            seed=seed,
            chaos_seed=chaos_seed,
            account=Account.from_environment(os.environ),
            token_ttl_s=token_ttl,
            allow_query=allow_query,
            rate_limits=rate_limits,
            user_event_s=user_event_s,
            batch_max=batch_max,
            frame_max=frame_max,
            coalesce_ms=coalesce_ms,
            chaos=read_chaos(chaos) if chaos else ChaosRequest(),
            with_parent=with_parent,
        )
    except ChaosError as error:
        sys.stderr.write(f"gateway: {error}\n")
        raise typer.Exit(USAGE) from None
    if from_log is None:
        raise typer.Exit(run_gateway(settings))
    # Only here: reading logs takes Arrow, which takes half a second and 80 MB.
    from tickloom.actors.recorder.errors import LogError
    from tickloom.actors.recorder.reader import LogReader
    from tickloom.scripts.gateway.logs import market_from_log

    try:
        with LogReader(from_log) as reader:
            market = market_from_log(
                reader,
                start_ns=time.time_ns(),
                speed=speed,
                keep_stamps=keep_stamps,
                hold=hold,
                damaged=_tell,
            )
            raise typer.Exit(run_gateway(settings, market=market))
    except LogError as error:
        sys.stderr.write(f"gateway: {error}\n")
        raise typer.Exit(error.exit_code) from None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"gateway: cannot play {from_log}: {error}\n")
        raise typer.Exit(USAGE) from None


if __name__ == "__main__":
    typer.run(gateway)
