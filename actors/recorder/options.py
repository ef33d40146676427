"""How a log is written, and what its writer counts: plain values, for configuration and reports."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from tickloom.messages.market import NS

MS = NS // 1000
"""Nanoseconds in a millisecond."""


Compression: TypeAlias = Literal["zstd", "lz4", "none"]
"""How the buffers of a batch are compressed: any of them is read whatever the settings say."""


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a log is written. Times are nanoseconds, sizes bytes.

    Attributes:
        batch_rows: a batch is closed when it has this many rows; it may have up to twice as many.
        batch_ns: and at this age of its oldest item.
        sync_ns: at most this long between a write and its `fdatasync`; 0: after every batch.
        segment_bytes: a segment is closed once it has grown to this.
        segment_ns: and when receipt stamps pass a multiple of this (an hour); 0: never.
        retain_bytes: closed segments are removed, oldest first, while the log is larger; None: never.
        retain_ns: closed segments are removed when all in them was received this long before the newest; None: never.
        backlog_rows, backlog_bytes: how much may wait in memory while the disk refuses.
        retry_ns: how long to wait between two attempts at a disk that refuses.
        compression: how batches are compressed; zstd is smaller, lz4 is read in a third of the CPU time.
        level: zstd level.
        threads: compress on several threads: for bulk work, not beside a live feed.
    """

    batch_rows: int = 4096
    batch_ns: int = 50 * MS
    sync_ns: int = 500 * MS
    segment_bytes: int = 256 * 1024 * 1024
    segment_ns: int = 3600 * NS
    retain_bytes: int | None = None
    retain_ns: int | None = None
    backlog_rows: int = 65_536
    backlog_bytes: int = 64 * 1024 * 1024
    retry_ns: int = NS
    compression: Compression = "zstd"
    level: int = 1
    threads: bool = False


class WriterCounters(msgspec.Struct):
    """What a writer has done since it was opened.

    `repeated` are frames and records that were in the log already; `unfit` frames whose columns contradicted one
    another; `lost_frames`, `lost_prints` those let go for any reason (a gap tells), `lost_records` control records
    that were let go too, which takes a very long failure. `failures` are refusals of the disk; `doubtful` frames that
    were written and never known to be on the disk, because their segment had to be given up. `unindexed` are closed
    segments whose index could not be written, `kept_old` segments that retention could not remove.
    """

    frames: int = 0
    prints: int = 0
    controls: int = 0
    batches: int = 0
    bytes_written: int = 0
    segments: int = 0
    syncs: int = 0
    repeated: int = 0
    unfit: int = 0
    lost_frames: int = 0
    lost_prints: int = 0
    lost_records: int = 0
    failures: int = 0
    doubtful: int = 0
    removed: int = 0
    unindexed: int = 0
    kept_old: int = 0
