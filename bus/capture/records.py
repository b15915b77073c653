"""The records of a capture: what a feed saw and did, in the order in which its code got it.

On the wire a record is a header, little-endian, and a body::

    length u32 | kind u8 | time i64 | connection u32 | body (length bytes)

======  ========  ===========================================================================
kind    record    body
======  ========  ===========================================================================
1       Head      JSON object; first in every file
2       Opened    JSON object; an attempt to connect begins, its frames follow if it succeeds
3       Frame     the WebSocket message, byte for byte
4       Sent      the control message, byte for byte but for secrets
5       Closed    JSON object; the connection (or the attempt) has ended
6       Exchange  length u32 of a JSON object | that object | the answer's body, byte for byte
7       Hole      JSON object; records that the writer had to leave out
8       Again     as Sent: asks afresh for what is subscribed to already, prompted by the clock
======  ========  ===========================================================================

``time`` is wall-clock ns since 1970: for a Frame when the read returned that brought it, else when
it happened. ``connection`` counts a feed process's attempts to connect from 1; 0 is none. A reader
skips kinds it does not know, and JSON keys it does not know: both may be added.

Pure. Values in, values out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

HEADER: Final = struct.Struct("<IBqI")
MAX_RECORD_BYTES: Final = 1 << 30
"""Longest body; a longer one is not believed."""

CAUSE: Final = "Mdbus-Cause"
"""Among an Exchange's headers: why the feed asked, where its capture alone was the reason."""

HEAD, OPENED, FRAME, SENT, CLOSED, EXCHANGE, HOLE, AGAIN = range(1, 9)
_META: Final = struct.Struct("<I")

FORMAT_VERSION: Final = 1


class Record(msgspec.Struct, frozen=True):
    """What every record has: ``time_ns`` (wall clock) and the ``connection`` it belongs to."""

    time_ns: int
    connection: int


class Head(Record, frozen=True):
    """What the file is of.

    ``run`` tells one feed process from the next (its start, ns); ``part`` counts the files of a
    run from 1, so that a missing one shows. ``simulated``: the traffic is the simulator's.
    ``settings`` are those of the feed that shape its ticks, for playing it again.
    """

    feed: str
    venue: str
    run: int
    part: int
    simulated: bool = False
    symbols: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    version: int = FORMAT_VERSION


class Opened(Record, frozen=True):
    """A connection begins. ``url`` without query; ``successor``: it is to replace another one.

    ``carried``: it was open already when this file began; told again so that the file can be read
    alone; the next ``carried_sent`` Sent records of it are what it had said before.
    """

    name: str
    url: str
    successor: bool = False
    carried: bool = False
    carried_sent: int = 0


class Frame(Record, frozen=True):
    """One WebSocket message."""

    payload: bytes


class Sent(Record, frozen=True):
    """One control message from here to the venue, before anything it brought about."""

    message: bytes


class Again(Record, frozen=True):
    """A control message that leaves and takes up again what is subscribed to already.

    Nothing that was received brought it about (a stream was silent; a capture began a new file), so
    whoever plays the capture need not wait for it, and a new file need not repeat it.
    """

    message: bytes


class Closed(Record, frozen=True):
    """A connection ended: ``code`` as seen here (0: it never opened, or was given up).

    ``reason``: ``closed`` by the venue or the network, ``replaced`` by its successor,
    ``stopping``: this feed was told to stop, ``failed``: never opened; any other word: given up.
    """

    code: int
    reason: str
    detail: str = ""


class Exchange(Record, frozen=True):
    """One REST call and its answer, at the moment the feed's code got it.

    ``status`` 0: no answer came, ``body`` is then empty. Of the headers only those that matter
    for playing it again.
    """

    path: str
    query: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes


class Hole(Record, frozen=True):
    """``records`` of ``size_bytes`` together are missing here, and why."""

    records: int
    size_bytes: int
    why: str


_KINDS: Final[dict[type[Record], int]] = {
    Head: HEAD,
    Opened: OPENED,
    Closed: CLOSED,
    Hole: HOLE,
}


class _Meta(msgspec.Struct):
    path: str
    query: dict[str, str]
    status: int
    headers: dict[str, str]


_encode_json = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(_Meta).decode
_decoders: Final = {kind: msgspec.json.Decoder(type_).decode for type_, kind in _KINDS.items()}


def encode(record: Record) -> bytes:
    """One record as bytes. Raises ValueError when it is longer than a record may be."""
    kind, body = _body(record)
    if len(body) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(body)} bytes is too long")
    return HEADER.pack(len(body), kind, record.time_ns, record.connection) + body


def frame_header(length: int, time_ns: int, connection: int) -> bytes:
    """What goes before a frame's own bytes: the writer's hot path does not copy payloads."""
    return HEADER.pack(length, FRAME, time_ns, connection)


class Unreadable(ValueError):
    """Bytes that are no record: ``offset`` of the first bad one among those given."""

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        self.why = why
        super().__init__(f"{why} at byte {offset}")


def decode_all(data: bytes) -> Iterator[Record | None]:
    """Every record of ``data``, in order; ``None`` for a kind not known here.

    Raises Unreadable at the first that is damaged or not all there.
    """
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER.size:
            raise Unreadable(offset, "a record is cut short")
        length, kind, time_ns, connection = HEADER.unpack_from(data, offset)
        start = offset + HEADER.size
        if length > MAX_RECORD_BYTES:
            raise Unreadable(offset, f"a record claims {length} bytes")
        if start + length > end:
            raise Unreadable(offset, "a record is cut short")
        body = data[start : start + length]
        try:
            yield _decode(kind, time_ns, connection, body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, struct.error) as error:
            raise Unreadable(offset, f"a record of kind {kind} is malformed: {error}") from None
        offset = start + length


def _body(record: Record) -> tuple[int, bytes]:
    if isinstance(record, Frame):
        return FRAME, record.payload
    if isinstance(record, Sent):
        return SENT, record.message
    if isinstance(record, Again):
        return AGAIN, record.message
    if isinstance(record, Exchange):
        meta = _encode_json(_Meta(record.path, record.query, record.status, record.headers))
        return EXCHANGE, _META.pack(len(meta)) + meta + record.body
    return _KINDS[type(record)], _encode_json(record)


def _decode(kind: int, time_ns: int, connection: int, body: bytes) -> Record | None:
    if kind == FRAME:
        return Frame(time_ns, connection, body)
    if kind == SENT:
        return Sent(time_ns, connection, body)
    if kind == AGAIN:
        return Again(time_ns, connection, body)
    if kind == EXCHANGE:
        (length,) = _META.unpack_from(body)
        meta = _decode_meta(body[_META.size : _META.size + length])
        rest = body[_META.size + length :]
        return Exchange(time_ns, connection, meta.path, meta.query, meta.status, meta.headers, rest)
    decode = _decoders.get(kind)
    if decode is None:
        return None
    record: Record = decode(body)
    return msgspec.structs.replace(record, time_ns=time_ns, connection=connection)
