"""The summary of a session or a replay: the last line `demo`, `live` and `replay` print. Its keys are a contract."""

from __future__ import annotations

import msgspec


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a session did, in figures.

    Attributes:
        ticks: prints received, decoded or not.
        rejected: prints that validation refused or that could not be decoded.
        lost: prints received that are in no bar, reject or quarantine. Anything but 0 is a defect.
        bars: closed bars, all timeframes.
        restarts: actors restarted by their supervisors.
        gaps: known stretches that were not received.
        seconds: how long it ran; `ticks_per_second` is ticks over it.
        p50_ms: median time from the receipt of a frame to the update of the bar, in the slowest timeframe; `p99_ms`
            likewise. None when nothing was measured (a replay has no receipt).
        log: the directory of the message log, or None.
        out: the directory of the Parquet files, or None.
        digest: SHA-256 over the final bars in (timeframe, contract, open time) order, in hex.
        quarantined: prints on which an actor failed, kept as dead letters. Where they broke a timeframe's bar they are
            in no bar of that timeframe; counted are those of the timeframe that lacks most.
    """

    ticks: int
    rejected: int
    lost: int
    bars: int
    restarts: int
    gaps: int
    seconds: float
    ticks_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    log: str | None
    out: str | None
    digest: str
    quarantined: int = 0
