"""Writing a log: items in, checked batches on disk. Knows no clock: the caller says what time it is.

Rules. What is appended is the writer's from then on; it is never to be appended again, whatever is raised. Batches
close when they are full or old enough. A batch is in the file whole or not at all. When the disk refuses, items wait
in memory up to a bound; beyond it frames are let go and counted, and a `Gap` in their place says so as soon as
writing works again. After a sync that failed the segment is given up, since asking again would not tell what is on
the disk.

All methods are for one thread, the recorder's. `append` and `poll` block for as long as the disk takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import msgspec

from tickloom.actors.recorder.backlog import Backlog, Batch
from tickloom.actors.recorder.context import Context
from tickloom.actors.recorder.errors import LogWriteError
from tickloom.actors.recorder.files import Files, SystemFiles
from tickloom.actors.recorder.lock import DirectoryLock
from tickloom.actors.recorder.losses import Losses
from tickloom.actors.recorder.opening import Closed, Opening, open_directory
from tickloom.actors.recorder.options import LogOptions, WriterCounters
from tickloom.actors.recorder.output import Broken, SegmentFile
from tickloom.actors.recorder.packing import Packed, Pause, no_pause, pack
from tickloom.actors.recorder.retention import Retention
from tickloom.actors.recorder.segment import name_of
from tickloom.actors.recorder.wire import END, UnitEncoder
from tickloom.messages.intake import Frames, Numbered
from tickloom.messages.records import SegmentHeader

__all__ = ["LogOptions", "LogWriter", "WriterCounters"]


class LogWriter:
    """The one writer of a log.

    Args:
        directory: where the segments go; made if need be. A log that is there is gone on with, in a new segment.
        session: who writes, for the headers: an id of the session.
        options: see `LogOptions`.
        files: the file operations to write with.
        program: name and version for the headers.
        pause: called now and then while a batch is packed, so that a live feed need not wait for all of it.

    Attributes:
        directory: see above.
        opening: the log as it was found.
        counters: what was done so far.
        last_seq: the last sequence number written (None: the log is empty).
        synced_seq: the last one known to be on the disk, but for `counters.doubtful`.

    Raises:
        LogInUse: another writer has the log.
        ForeignFile, NewerFormat: what is there cannot be gone on with.
        OSError: the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        session: str,
        options: LogOptions | None = None,
        files: Files | None = None,
        program: str = "tickloom",
        pause: Pause = no_pause,
    ) -> None:
        self.directory = Path(directory)
        self.counters = WriterCounters()
        self._options = options if options is not None else LogOptions()
        self._files = files if files is not None else SystemFiles()
        self._session = session
        self._program = program
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = DirectoryLock(self.directory)
        try:
            self.opening: Opening = open_directory(self.directory)
        except BaseException:
            self._lock.release()
            raise
        self.last_seq = self.opening.last_seq
        self.synced_seq = self.last_seq
        self._number = self.opening.last_segment
        self._context = Context(self.opening.context)
        self._kept = Retention(self.opening.closed, self._options, self._files)
        self._encoder = UnitEncoder(self._options.compression, self._options.level, threads=self._options.threads)
        self._segment: SegmentFile | None = None
        self._backlog = Backlog(self.last_seq, pause)
        self._unsynced_since: int | None = None
        self._retry_at: int | None = None
        self._losses = Losses()
        self._cause = ""
        self._synced_frames = 0
        self._closed = False

    @property
    def open_files(self) -> int:
        """How many files it has open: the segment it writes, and the lock."""
        return int(self._segment is not None) + int(self._lock.held)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    @property
    def failing(self) -> bool:
        """Whether the disk refused the last attempt."""
        return self._retry_at is not None

    @property
    def waiting(self) -> int:
        """How many items are in memory only."""
        return len(self._backlog)

    def append(self, items: Iterable[Numbered], now_ns: int) -> None:
        """Take items, in order of their numbers, and write what is due.

        Items at or below the last number taken are in the log already and are passed over.

        Args:
            items: what to write.
            now_ns: monotonic time.

        Raises:
            LogWriteError: the disk refused. The items are kept; go on appending, the writer tries again by itself.
        """
        if self._closed:
            raise ValueError(f"the writer of {self.directory} is closed")
        self._backlog.add(items, now_ns)
        self.counters.repeated = self._backlog.repeated
        self._work(now_ns)

    def poll(self, now_ns: int) -> None:
        """Let time pass: close a batch that is old enough, sync what is due, try again after a failure.

        Raises:
            LogWriteError: see `append`.
        """
        if not self._closed:
            self._work(now_ns)

    def next_due(self) -> int | None:
        """Return the monotonic time (ns) at which `poll` has something to do; None: nothing waits."""
        if self._retry_at is not None:
            return self._retry_at
        due = [self._backlog.since + self._options.batch_ns] if len(self._backlog) else []
        if self._unsynced_since is not None:
            due.append(self._unsynced_since + self._options.sync_ns)
        return min(due, default=None)

    def flush(self, now_ns: int) -> None:
        """Write and sync all that was appended.

        Raises:
            LogWriteError: see `append`.
        """
        if not self._closed:
            self._retry_at = None
            self._work(now_ns, everything=True)

    def close(self, now_ns: int = 0) -> None:
        """Write all that was appended, close the segment, let the log go. Does nothing the second time.

        Raises:
            LogWriteError: not all of it could be written; the log is let go all the same.
        """
        if self._closed:
            return
        try:
            self.flush(now_ns)
            self._seal()
        except OSError as error:
            raise self._refused(error) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let the log go as it is: what waits in memory is lost, the segment stays open-ended as after a crash."""
        self._closed = True
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None
        self._lock.release()

    def _refused(self, error: OSError) -> LogWriteError:
        return LogWriteError(self.directory, error, kept=len(self._backlog), lost_frames=self._losses.frames)

    def _work(self, now_ns: int, *, everything: bool = False) -> None:
        options, backlog = self._options, self._backlog
        if self._retry_at is not None and now_ns < self._retry_at:
            self._bound_backlog()
            return
        try:
            self._write_losses(now_ns)
            while len(backlog) and (
                everything or backlog.rows >= options.batch_rows or now_ns - backlog.since >= options.batch_ns
            ):
                self._write_batch(now_ns)
                self._write_losses(now_ns)
            since = self._unsynced_since
            if since is not None and (everything or now_ns - since >= options.sync_ns):
                self._sync()
        except OSError as error:
            self._retry_at = now_ns + options.retry_ns
            self._cause = error.strerror or str(error)
            self.counters.failures += 1
            self._bound_backlog()
            raise self._refused(error) from error
        self._retry_at = None

    def _write_losses(self, now_ns: int) -> None:
        """Put what was lost, and the control records kept from among it, where it would have stood."""
        if self._losses:
            items = self._losses.records(self._cause)
            self._write_packed(pack(items), items, now_ns)
            self._losses = Losses()

    def _write_batch(self, now_ns: int) -> None:
        """Write the oldest items; they go on waiting until they are in the file."""
        batch = self._backlog.batch(self._options.batch_rows)
        if batch.packed is not None:
            self._write_packed(batch.packed, batch.items, now_ns)
        else:
            self._give_up_unfit(batch)
        self._backlog.take_off(batch, now_ns)

    def _give_up_unfit(self, batch: Batch) -> None:
        item = batch.items[0].item
        if isinstance(item, Frames):
            self.counters.unfit += len(item)
            self._cause = f"its columns are at odds: {batch.fault}"
            self._give_up(batch.items)
        else:
            self.counters.lost_records += 1

    def _write_packed(self, packed: Packed, items: list[Numbered], now_ns: int) -> None:
        note = packed.note
        segment = self._segment
        if segment is not None and segment.batches and self._is_full(segment, note.recv_ns[0]):
            self._seal()
            segment = None
        if segment is None:
            segment = self._create(note.recv_ns[0])
        note = msgspec.structs.replace(note, n=segment.batches)
        data = self._encoder.encode(packed.batch, note)
        try:
            segment.append(data, note)
        except Broken:
            self._give_segment_up()
            raise
        self._kept.saw(note.recv_ns[1])
        self.last_seq = note.seq[1]
        if self._unsynced_since is None:
            self._unsynced_since = now_ns
        counters = self.counters
        counters.batches += 1
        counters.frames += note.frames
        counters.prints += note.prints
        counters.controls += note.controls
        counters.bytes_written += len(data)
        if note.records:
            for numbered in items:
                if not isinstance(numbered.item, Frames):
                    self._context.apply(numbered.item)

    def _is_full(self, segment: SegmentFile, recv_ns: int) -> bool:
        options = self._options
        if segment.size + len(END) >= options.segment_bytes:
            return True
        width = options.segment_ns
        return bool(width) and recv_ns // width > segment.header.created_ns // width

    def _create(self, recv_ns: int) -> SegmentFile:
        self._number = number = self._number + 1
        header = SegmentHeader(
            crc32="",
            session=self._session,
            segment=number,
            after_seq=self.last_seq,
            created_ns=recv_ns,
            writer=self._program,
            context=self._context.records(),
        )
        self._segment = SegmentFile(self._files, self.directory / name_of(number), header)
        self.counters.segments += 1
        return self._segment

    def _sync(self) -> None:
        if self._segment is not None and self._segment.dirty:
            try:
                self._segment.sync()
            except OSError:
                self._give_segment_up()
                raise
            self.counters.syncs += 1
        self._all_synced()

    def _all_synced(self) -> None:
        self.synced_seq = self.last_seq
        self._synced_frames = self.counters.frames
        self._unsynced_since = None

    def _seal(self) -> None:
        segment = self._segment
        if segment is None:
            return
        try:
            indexed = segment.seal()
        except OSError:
            self._give_segment_up()
            raise
        self.counters.unindexed += not indexed
        self.counters.syncs += 1
        self._all_synced()
        self._segment = None
        self._kept.add(Closed(segment.path, segment.size, segment.header.created_ns))
        self._kept.apply(self.counters)

    def _give_segment_up(self) -> None:
        segment, self._segment = self._segment, None
        self._unsynced_since = None
        self.counters.doubtful += self.counters.frames - self._synced_frames
        self._synced_frames = self.counters.frames
        if segment is not None:
            segment.abandon()
            self._kept.add(Closed(segment.path, segment.size, segment.header.created_ns))

    def _bound_backlog(self) -> None:
        """Let frames go when more waits in memory than may."""
        if self._backlog.exceeds(self._options.backlog_rows, self._options.backlog_bytes):
            self._give_up(self._backlog.clear())

    def _give_up(self, items: list[Numbered]) -> None:
        losses = self._losses
        frames, prints, dropped = losses.frames, losses.prints, losses.dropped
        losses.take(items)
        self.counters.lost_frames += losses.frames - frames
        self.counters.lost_prints += losses.prints - prints
        self.counters.lost_records += losses.dropped - dropped
