"""Every single bit and every length of a small log: what is wrong is noticed, what is read is what was written.

Bars are a fold over what is read, so where only a beginning of the log is read, and the same as was written, no bar can
be wrong. The everyday run takes every so many bits and lengths, another part of them each time a segment's length
changes; `TICKLOOM_LONG=1 scripts/test -m long` takes all of them.
"""

from __future__ import annotations

import shutil

import pytest

from tickloom.actors.recorder.care import verify
from tickloom.actors.recorder.errors import LogError
from tickloom.actors.recorder.reader import LogReader
from tickloom.actors.recorder.repair import recover
from tickloom.actors.recorder.segment import segments_in
from tickloom.actors.recorder.wire import read_header
from tickloom.actors.recorder.writer import LogOptions, LogWriter
from tickloom.messages.control import Gap
from tickloom.messages.records import ControlRecord, unroll

long = pytest.mark.long


@pytest.fixture(scope="module")
def small(kit, tmp_path_factory):
    """A log of two closed segments and one that is still open, with one of everything in it; its records."""
    directory = tmp_path_factory.mktemp("small") / "log"
    items = kit.number([*kit.everything(), *(kit.frames(2, at, prints=2) for at in range(10, 22, 2))])
    options = LogOptions(batch_rows=6, segment_bytes=5000)
    writer = LogWriter(directory, session="s", options=options)
    for item in items:
        writer.append([item], 0)
    writer.flush(0)
    writer.abandon()
    assert len(segments_in(directory)) == 3
    return directory, list(unroll(items))


@pytest.fixture
def work(small, tmp_path):
    """A copy of it to be spoilt, and its records."""
    directory, records = small
    shutil.copytree(directory, tmp_path / "log", ignore=shutil.ignore_patterns("*.index"))
    return tmp_path / "log", records


def reading(directory):
    """What can be read, and whether anything was noticed. Another error than the log's own ends the test."""
    records = []
    try:
        with LogReader(directory, keep_index=False) as reader:
            for numbered in reader.items(raw=True):
                records += unroll([numbered])
            return records, bool(reader.torn)
    except LogError:
        return records, True


def bits_of(whole, every):
    """Every so many bits of a segment."""
    return range(len(whole) % every, len(whole) * 8, every)


def header_bits_of(whole, every):
    """Every so many bits of a segment's header, and all of the digit that says its version."""
    first = read_header(memoryview(whole))[1]
    version = whole.index(b"tickloom.format") - 8
    assert whole[version : version + 1] == b"2"
    return sorted({*range(len(whole) % every, first * 8, every), *range(version * 8, version * 8 + 8)})


def spoilt(directory, every, lengths, of=bits_of):
    """Spoil the log in one way after the other: flip each bit, or cut to each length; put it right in between."""
    for path in segments_in(directory):
        whole = path.read_bytes()
        if lengths:
            for length in range(len(whole) - 1, -1, -every):
                path.write_bytes(whole[:length])
                yield f"{path.name} cut to {length}", len(whole) - length
        else:
            data = bytearray(whole)
            for bit in of(whole, every):
                data[bit // 8] ^= 1 << bit % 8
                path.write_bytes(data)
                yield f"bit {bit} of {path.name} flipped", 1
                data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)


def check_reading(work, every, *, lengths):
    directory, records = work
    tried = 0
    for what, _ in spoilt(directory, every, lengths):
        got, noticed = reading(directory)
        assert got == records[: len(got)], what
        # the last segment is open: cut between two batches, it is as if the writer had died a little earlier
        assert noticed or got == records or (lengths and what.startswith(max(directory.glob("*.arrows")).name)), what
        tried += 1
    return tried


def check_recovery(work, every, *, lengths, of=bits_of):
    directory, records = work
    known = {record.seq: record for record in records}
    spare = directory.with_name("spare")
    for what, _ in spoilt(directory, every, lengths, of):
        shutil.copytree(directory, spare)
        torn = any(path.name.split()[0] in what for path in [max(directory.glob("*.arrows"))])
        try:
            recover(spare)
            found, noticed = reading(spare)
            assert not noticed, what
            assert verify(spare).whole, what
            kept = [r for r in found if not (isinstance(r, ControlRecord) and isinstance(r.record, Gap))]
            assert all(known[r.seq] == r for r in kept), what
            assert [r.seq for r in found] == sorted({r.seq for r in found}), what
            missing = sorted(known.keys() - {r.seq for r in kept})
            beginning = lengths and missing == list(range(1, len(missing) + 1))
            # of a segment cut within its header nothing is left; a log may begin later, and its header says where
            if missing and not beginning and not (torn and missing[-1] == records[-1].seq):
                gaps = [r.seq for r in found if r not in kept]
                assert any(missing[0] <= seq <= missing[-1] for seq in gaps), f"{what}: {missing} is missing"
        finally:
            shutil.rmtree(spare)


def test_flipped_bits_are_noticed_or_harmless(work):
    assert check_reading(work, 397, lengths=False) > 300


def test_cut_lengths_are_noticed_or_harmless(work):
    assert check_reading(work, 59, lengths=True) > 200


def test_whatever_bit_was_flipped_recover_keeps_the_rest_and_says_what_is_missing(work):
    check_recovery(work, 4999, lengths=False)


def test_whatever_bit_of_a_header_was_flipped_recover_makes_it_anew(work):
    check_recovery(work, 997, lengths=False, of=header_bits_of)


def test_to_whatever_length_it_was_cut_recover_keeps_the_rest_and_says_what_is_missing(work):
    check_recovery(work, 503, lengths=True)


@long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lengths", [False, True])
def test_every_single_bit_and_every_length_is_noticed_or_harmless(work, lengths):
    tried = check_reading(work, 1, lengths=lengths)
    size = sum(path.stat().st_size for path in segments_in(work[0]))
    assert tried == size * (1 if lengths else 8)


@long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lengths", [False, True])
def test_recover_copes_with_every_byte_of_the_log(work, lengths):
    check_recovery(work, 1 if lengths else 9, lengths=lengths)
    if not lengths:
        check_recovery(work, 1, lengths=False, of=header_bits_of)
