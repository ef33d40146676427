"""What a file to import is: plain or compressed, one table or a zip of them, and what its name tells.

QuantConnect's Lean keeps a day of ticks in a zip with a CSV a contract, `20131007_gc_tick_trade_201312.csv`: no header,
milliseconds since midnight, price, size, and columns that do not matter here. The last row of each file is there twice.
Such members are recognised by name.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from tickloom.actors.recorder.errors import ImportFault

_LEAN = re.compile(r"(\d{4})(\d\d)(\d\d)_[a-z0-9]+_tick_trade_(?:[a-z]+_)*(\d{6,8})\.csv", re.IGNORECASE)
_MAX_BYTES = 8 * 1024**3

LEAN_COLUMNS = "time,price,size"


class Source(msgspec.Struct, frozen=True):
    """Bytes of one table or one list of frames.

    Attributes:
        name: what messages call it.
        data: its content; empty for Parquet, which is read where it lies.
        path: the file itself, for Parquet.
        kind: `text` or `parquet`.
        tag: for a member of a zip, the last part of its name: what tells its contract.
        lean: the date, if it is a file of Lean's ticks.
    """

    name: str
    data: bytes
    path: Path
    kind: str = "text"
    tag: str = ""
    lean: date | None = None


def open_sources(path: Path, contract: str) -> Iterator[tuple[Source, str]]:
    """Yield what a file holds, and whose ticks each part is.

    Args:
        path: a CSV, JSON lines or frame lines file, plain or `.gz .bz2 .xz`, a `.parquet`, or a `.zip` of CSVs.
        contract: the contract; `{}` in it is replaced by each member's tag, otherwise a zip must have one member, or
            one whose tag is a part of the contract's id.

    Raises:
        ImportFault: the file cannot be read, or its members do not fit the contract.
    """
    try:
        suffix = path.suffix.lower()
        if suffix == ".zip":
            yield from _members(path, contract)
        elif suffix in (".parquet", ".pq"):
            with path.open("rb"):
                yield Source(path.name, b"", path, "parquet"), contract
        else:
            data = path.read_bytes()
            unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}.get(suffix)
            data = unpack(data) if unpack is not None else data
            yield _text(path.name, data, path), contract
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ImportFault(f"{path}: it cannot be read ({reason})") from None


def _text(name: str, data: bytes, path: Path, tag: str = "") -> Source:
    match = _LEAN.fullmatch(Path(name).name)
    lean = date(int(match[1]), int(match[2]), int(match[3])) if match is not None else None
    return Source(name, data, path, tag=tag, lean=lean)


def _members(path: Path, contract: str) -> Iterator[tuple[Source, str]]:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir() and info.file_size]
        tags = {name: Path(name).stem.rpartition("_")[2] for name in names}
        if not names:
            raise ImportFault(f"{path}: there is nothing in it: name a zip with a file of ticks")
        chosen = names
        if "{}" not in contract and len(names) > 1:
            chosen = [name for name in names if _names(contract, tags[name])]
        if len(chosen) != 1 and "{}" not in contract:
            raise ImportFault(
                f"{path}: it holds {len(names)} files ({', '.join(tags.values())}): name the contract so that it holds "
                "one of these, or with {} in their place to take all"
            )
        if sum(archive.getinfo(name).file_size for name in chosen) > _MAX_BYTES:
            raise ImportFault(f"{path}: it holds more than {_MAX_BYTES} bytes: unpack it and import the files")
        for name in chosen:
            try:
                data = archive.read(name)
            except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
                reason = str(error) or "it is packed in an unknown way"
                raise ImportFault(f"{path}: {name} cannot be read ({reason}): unpack it and import the file") from None
            yield _text(f"{path.name}/{name}", data, path, tags[name]), contract.replace("{}", tags[name])


def _names(contract: str, tag: str) -> bool:
    """Whether a contract's id has a tag in it as a whole: `Z25` names `201412` as little as `2`."""
    return bool(tag) and re.search(rf"(?<![^\W_]){re.escape(tag)}(?![^\W_])", contract) is not None
