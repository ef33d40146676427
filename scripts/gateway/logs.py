"""The ticks of a message log as a source to play back.

Prints come in their order of arrival, paced by their receipt; contracts are those the log says were subscribed, with
the instruments it gives for them. Where the log turns out damaged the playback ends, and says so. Quotes and depth
are synthesized from the prints: those in the log's raw frames are not served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.reader import LogReader
from tickloom.messages.control import SessionStarted, Subscribed
from tickloom.messages.intake import Frames
from tickloom.messages.market import Instrument, as_list
from tickloom.scripts.gateway.recording import FromRecording, RecordedTick, spec_from_instrument


def instruments_of(reader: LogReader) -> tuple[Instrument, ...]:
    """Return the instruments that the log names, each contract once."""
    found: dict[str, Instrument] = {}
    for record in reader.context():
        if isinstance(record, SessionStarted):
            found.update((instrument.contract, instrument) for instrument in record.instruments)
        elif isinstance(record, Subscribed):
            found[record.contract] = record.instrument
    return tuple(found.values())


def ticks_of(reader: LogReader, damaged: Callable[[LogError], None]) -> Iterator[RecordedTick]:
    """Yield every print of the log. Damage ends it early, after `damaged` was called with what is wrong.

    Raises:
        LogError: the log is damaged before its first print.
    """
    begun = False
    try:
        for numbered in reader.items():
            if isinstance(numbered.item, Frames) and numbered.item.prints is not None:
                begun = True
                yield from _prints(numbered.item)
    except LogError as error:
        if not begun:
            raise
        damaged(error)


def _prints(frames: Frames) -> Iterator[RecordedTick]:
    prints = frames.prints
    assert prints is not None
    received = as_list(frames.recv_ns)
    columns = (prints.ts_ns, prints.contract, prints.price, prints.size, prints.side, prints.frame)
    for stamp, contract, price, size, side, frame in zip(*map(as_list, columns), strict=True):
        yield RecordedTick(stamp, prints.contracts[contract], price, size, side, received[frame])


def market_from_log(
    reader: LogReader,
    *,
    start_ns: int,
    speed: float = 1.0,
    keep_stamps: bool = False,
    hold: bool = False,
    damaged: Callable[[LogError], None] = lambda error: None,
) -> FromRecording:
    """Return a market that plays the log back; `reader` must stay open while it does. `hold`: not before `begin`.

    Raises:
        LogError: the log is damaged before its first print.
        ValueError: it names no instrument, or `speed` is not above 0.
    """
    specs = [spec_from_instrument(instrument) for instrument in instruments_of(reader)]
    if not specs:
        raise ValueError("the log names no instrument, so there is nothing to serve")
    ticks = ticks_of(reader, damaged)
    return FromRecording(ticks, specs, start_ns=start_ns, speed=speed, keep_stamps=keep_stamps, hold=hold)
