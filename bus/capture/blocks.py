"""How records lie in a file: compressed blocks, each complete and checked in itself.

A file is the eight bytes of ``MAGIC`` and then blocks, little-endian::

    "mdBK" | flags u8 | stored u32 | raw u32 | crc32 u32 | stored bytes: raw DEFLATE

A block holds whole records. The checksum covers the fields before it and the stored bytes.
Blocks share one compression window, which is what makes small ones worth while; a block with flag
1 begins a new one. So a file that ends anywhere loses at most its last block, and of that only what
had not been written: whatever complete records the part that is there gives are given. After
damage in the middle reading goes on at the next block that begins a window.

Pure. :class:`BlockEncoder` gives bytes to write, :class:`Decoder` takes bytes that were read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bus.capture.records import Record, Unreadable, decode_all
from bus.errors import MdbusError

MAGIC: Final = b"mdcap\x001\n"
MARK: Final = b"mdBK"
_HEADER: Final = struct.Struct("<4sBIII")
_CHECKED: Final = struct.Struct("<BII")
FRESH: Final = 1
MAX_BLOCK_BYTES: Final = (1 << 30) + (1 << 20)
"""Most raw or stored bytes of one block; a header that claims more is not believed."""
FRESH_EVERY_BYTES: Final = 4 << 20
"""Raw bytes after which a new window begins: what damage in the middle can cost."""
_DEFLATE_MOST: Final = 1032
"""DEFLATE's greatest factor: a header that claims a greater one is not believed."""


class CaptureError(MdbusError):
    """The bytes are no capture at all, or of a version not known here."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes of the file that could not be used: where, how many, and why."""

    offset: int
    size_bytes: int
    why: str


class BlockEncoder:
    """Makes the blocks of one file; ``level`` is zlib's, 1 fastest to 9 smallest."""

    def __init__(self, level: int = 1) -> None:
        self._level = level
        self._window_bytes = FRESH_EVERY_BYTES
        self._deflate = self._new()

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)

    def block(self, raw: bytes) -> bytes:
        """One block of whole, encoded records. Raises ValueError when empty or too long."""
        if not 0 < len(raw) <= MAX_BLOCK_BYTES:
            raise ValueError(f"a block of {len(raw)} bytes cannot be written")
        flags = 0
        if self._window_bytes + len(raw) > FRESH_EVERY_BYTES:
            self._deflate = self._new()
            self._window_bytes = 0
            flags = FRESH
        self._window_bytes += len(raw)
        stored = self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        crc = _crc(flags, len(stored), len(raw), stored)
        return _HEADER.pack(MARK, flags, len(stored), len(raw), crc) + stored


class Decoder:
    """Bytes in any portions to records; call :meth:`finish` after the last portion.

    ``cuts`` lists what could not be used, so far; ``unknown`` counts records of kinds not known
    here, which are left out.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._offset = 0
        self._started = False
        self._inflate: zlib._Decompress | None = None
        self._searching_from: int | None = None
        self._why = ""
        self.cuts: list[Cut] = []
        self.unknown = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """Records of all blocks complete by now. Raises CaptureError for another kind of file.

        Exhaust the iterator before the next call.
        """
        self._data += data
        if not self._started:
            if len(self._data) < len(MAGIC) and MAGIC.startswith(self._data):
                return
            if not self._data.startswith(MAGIC):
                raise CaptureError(_foreign(bytes(self._data[: len(MAGIC)])))
            self._started = True
            self._drop(len(MAGIC))
        while (records := self._next()) is not None:
            yield from records

    def finish(self) -> Iterator[Record]:
        """What can be had of a last block that is not all there. Notes a cut if one was needed."""
        if not self._started:
            raise CaptureError("it is empty" if not self._data else "it ends within its first line")
        while self._data:
            torn = self._torn()
            if torn is not None:
                records, end = torn
                yield from records
                self._note(self._offset, end, "the last block is cut short")
                self._drop(end)
                continue
            # no block begins here: there may be one further on
            self._search("the end of the file is no block")
            if self._skip_to_mark(final=True):
                while (found := self._next()) is not None:
                    yield from found
        self._close_search()

    # inside

    def _next(self) -> list[Record] | None:
        """Records of the block at the front; ``None`` when it is not all there."""
        while True:
            if self._searching_from is not None and not self._skip_to_mark(final=False):
                return None
            if len(self._data) < _HEADER.size:
                return None
            mark, flags, stored, raw, crc = _HEADER.unpack_from(self._data)
            if not _is_plausible(mark, flags, stored, raw):
                self._search("no block where one should be")
                continue
            end = _HEADER.size + stored
            if len(self._data) < end:
                return None
            body = bytes(self._data[_HEADER.size : end])
            if _crc(flags, stored, raw, body) != crc:
                self._search("a block is damaged (checksum)")
                continue
            if flags & FRESH:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            elif self._inflate is None:  # its window began in the damaged part
                self._search(self._why or "a block's beginning is missing")
                self._drop(end - 1)
                continue
            self._close_search()
            records = self._records(body, raw, end)
            self._drop(end)
            return records

    def _records(self, body: bytes, raw: int, size: int) -> list[Record]:
        """What a checked block holds; it may still be nonsense if its writer was."""
        assert self._inflate is not None
        found: list[Record] = []
        try:
            text = self._inflate.decompress(body, raw + 1)
            self._collect(text, found)
            if len(text) != raw:
                raise Unreadable(len(text), f"{len(text)} bytes in place of {raw}")
        except (zlib.error, Unreadable) as error:
            self._inflate = None
            self._note(self._offset, size, f"a block is not what it says: {error}")
        return found

    def _torn(self) -> tuple[list[Record], int] | None:
        """Complete records of a block that begins here and is cut short, and the bytes used up."""
        found: list[Record] = []
        if self._searching_from is not None or len(self._data) < _HEADER.size:
            short = MARK.startswith(self._data[:4]) or self._data.startswith(MARK)
            if self._searching_from is None and short and len(self._data) < _HEADER.size:
                return found, len(self._data)
            return None
        mark, flags, stored, raw, _crc32 = _HEADER.unpack_from(self._data)
        if not _is_plausible(mark, flags, stored, raw):
            return None
        inflate = zlib.decompressobj(-zlib.MAX_WBITS) if flags & FRESH else self._inflate
        if inflate is not None:
            try:
                text = inflate.decompress(bytes(self._data[_HEADER.size :]), raw + 1)
                self._collect(text, found)
            except (zlib.error, Unreadable):
                pass  # what came before it is whole, the rest is what is reported as cut
        return found, len(self._data)

    def _collect(self, text: bytes, into: list[Record]) -> None:
        for record in decode_all(text):
            if record is None:
                self.unknown += 1
            else:
                into.append(record)

    def _search(self, why: str) -> None:
        """The front is no block: from here on look for one that begins a window."""
        if self._searching_from is None:
            self._searching_from, self._why = self._offset, why
        self._inflate = None
        self._drop(1)

    def _skip_to_mark(self, *, final: bool) -> bool:
        """Drop what comes before the next block mark; whether there is one."""
        at = self._data.find(MARK)
        if at >= 0:
            self._drop(at)
            return True
        self._drop(len(self._data) if final else max(0, len(self._data) - len(MARK) + 1))
        return False

    def _close_search(self) -> None:
        if self._searching_from is not None:
            self._note(self._searching_from, self._offset - self._searching_from, self._why)
            self._searching_from = None

    def _note(self, offset: int, size: int, why: str) -> None:
        if size:
            self.cuts.append(Cut(offset, size, why))

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._offset += count


def _is_plausible(mark: bytes, flags: int, stored: int, raw: int) -> bool:
    return (
        mark == MARK
        and flags <= FRESH
        and 0 < raw <= MAX_BLOCK_BYTES
        and 0 < stored <= MAX_BLOCK_BYTES
        and raw <= stored * _DEFLATE_MOST
    )


def _crc(flags: int, stored: int, raw: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_CHECKED.pack(flags, stored, raw)))


def _foreign(start: bytes) -> str:
    if start.startswith(MAGIC[:6]):
        return f"its format version {start[6:7].decode('latin-1')!r} is not known here (known: 1)"
    return "it is no capture file"
