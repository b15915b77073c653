"""Frames: one topic, one NUL byte, one msgpack array.

``[schema, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, ...body]``; the order of the body is the
order of the fields of its struct in :mod:`bus.model`. Malformed input raises kinds of
:class:`~bus.errors.WireError` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Annotated, Any, TypeVar

import msgpack
import msgspec

from bus.errors import PayloadError, TopicError
from bus.model.streams import STREAMS
from bus.model.tick import Body, Tick
from bus.model.topic import Topic
from bus.wire.topic import parse_topic

SCHEMA = 1
HEADER_FIELDS = 6
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Larger frames are refused: no tick, however deep its book, comes near."""

SEPARATOR = b"\0"

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_astuple = msgspec.structs.astuple
_BodyT = TypeVar("_BodyT", bound=Body)


def split(frame: bytes) -> tuple[bytes, bytes]:
    """Split a frame into (topic, payload). Raises PayloadError when the NUL byte is missing."""
    topic, separator, payload = frame.partition(SEPARATOR)
    if not separator:
        raise PayloadError("no NUL byte between topic and payload", topic[:80])
    return topic, payload


def encode_payload(
    epoch: int,
    seq: int,
    venue_ts_ns: int | None,
    recv_ts_ns: int,
    pub_ts_ns: int,
    body: Body,
) -> bytes:
    """The payload alone: what follows the NUL byte. ``body`` is trusted, not validated."""
    packed: bytes = _pack((SCHEMA, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, *_astuple(body)))
    return packed


def encode_frame(
    key: bytes,
    epoch: int,
    seq: int,
    venue_ts_ns: int | None,
    recv_ts_ns: int,
    pub_ts_ns: int,
    body: Body,
) -> bytes:
    """A whole frame. ``key`` is the topic as bytes, without the NUL byte."""
    return key + SEPARATOR + encode_payload(epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, body)


def decode_frame(frame: bytes) -> Tick:
    """Decode and validate a whole frame.

    Raises :class:`~bus.errors.TopicError` or :class:`~bus.errors.PayloadError`.
    """
    key, payload = split(frame)
    return decode_payload(key, payload)


def decode_payload(key: bytes, payload: bytes) -> Tick:
    """Decode a payload whose topic was split off already. Raises as :func:`decode_frame`."""
    topic = parse_topic(key)
    decode = _WHOLE.get(topic.stream)
    if decode is None:  # unreachable by parse_topic's own check; kept for the type checker
        raise TopicError(key, "unknown stream")
    body_type = STREAMS[topic.stream].body_type
    try:
        _, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, *fields = _astuple(decode(payload))
    except (msgspec.DecodeError, RecursionError):
        return _decode_slowly(topic, key, payload)
    if len(payload) > MAX_FRAME_BYTES or not _are_finite(fields):
        return _decode_slowly(topic, key, payload)
    return Tick(topic, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, body_type(*fields))


def _decode_slowly(topic: Topic, key: bytes, payload: bytes) -> Tick:
    """The same in steps, for the words of the error."""
    fields = unpack(payload, key)
    epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns = _header(fields, key)
    try:
        body = _convert(fields[HEADER_FIELDS:], STREAMS[topic.stream].body_type)
    except msgspec.ValidationError as error:
        raise PayloadError(str(error), key) from None
    return Tick(topic, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns, body)


def position(payload: bytes) -> tuple[int, int]:
    """The (epoch, seq) of a payload, without decoding its body: for whoever only forwards.

    Reads the first three elements of the array only. Raises :class:`~bus.errors.PayloadError`.
    """
    # The common encoding (fixarray or array16, schema 1, epoch as uint64) is read by hand: this
    # runs once per message in every consumer, and a msgpack.Unpacker costs eight times as much.
    start = 1 if payload[:1] < b"\xa0" else 3
    if payload[start : start + 2] == b"\x01\xcf" and payload[:1] in _ARRAY_TAGS:
        tag = payload[start + 10 : start + 11]
        width = _UINT_WIDTH.get(tag)
        if width is not None:
            end = start + 11 + width
            if len(payload) >= end:
                return (
                    int.from_bytes(payload[start + 2 : start + 10]),
                    int.from_bytes(payload[start + 11 : end]) if width else tag[0],
                )
    return _position_slowly(payload)


_ARRAY_TAGS = frozenset(bytes([0x90 | count]) for count in range(HEADER_FIELDS, 16)) | {b"\xdc"}
_UINT_WIDTH = {bytes([value]): 0 for value in range(0x80)} | {
    b"\xcc": 1,
    b"\xcd": 2,
    b"\xce": 4,
    b"\xcf": 8,
}


def _position_slowly(payload: bytes) -> tuple[int, int]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(payload[:64])
    try:
        count = unpacker.read_array_header()
        schema, epoch, seq = unpacker.unpack(), unpacker.unpack(), unpacker.unpack()
    except Exception as error:  # noqa: BLE001  (msgpack raises half a dozen unrelated kinds)
        raise PayloadError(f"not a msgpack array: {type(error).__name__}") from None
    if count < HEADER_FIELDS:
        raise PayloadError(f"{count} fields, at least {HEADER_FIELDS} expected")
    if schema.__class__ is not int or schema < 1:
        raise PayloadError(f"schema {schema!r:.40} is not a positive integer")
    if epoch.__class__ is not int or seq.__class__ is not int or epoch < 0 or seq < 0:
        raise PayloadError("epoch and seq must be integers ≥ 0")
    return epoch, seq


def unpack(payload: bytes, key: bytes | str = "") -> list[Any]:
    """Any msgpack array as a list. Raises :class:`~bus.errors.PayloadError`."""
    if len(payload) > MAX_FRAME_BYTES:
        raise PayloadError(f"{len(payload)} bytes, at most {MAX_FRAME_BYTES} allowed", key)
    try:
        fields = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except Exception as error:  # noqa: BLE001  (msgpack raises half a dozen unrelated kinds)
        raise PayloadError(f"not msgpack: {type(error).__name__}", key) from None
    if not isinstance(fields, list):
        raise PayloadError("not a msgpack array", key)
    return fields


def _convert(fields: list[Any], body_type: type[_BodyT]) -> _BodyT:
    if not _are_finite(fields):
        _refuse_non_finite(fields)
    return msgspec.convert(fields, body_type)


def _are_finite(fields: list[Any]) -> bool:
    """Whether there is surely no NaN or infinity in them."""
    for field in fields:
        kind = field.__class__
        if (kind is float and not isfinite(field)) or (kind is list and _is_suspect(field)):
            return False
    return True


def _is_suspect(levels: list[Any]) -> bool:
    """Whether a list may hold NaN or an infinity: cheap for price levels, sure to find them.

    Both survive addition, so one sum in C stands for a look at each number. A sum of huge finite
    numbers may overflow, and what is no list of levels cannot be summed: those get the full look.
    """
    try:
        return not isfinite(sum(map(sum, levels)))
    except TypeError:
        return True


def _refuse_non_finite(value: object) -> None:
    """NaN and infinities never stand for "unknown" on this bus: nil does."""
    if isinstance(value, float):
        if not isfinite(value):
            raise msgspec.ValidationError("NaN or infinity where a finite number or nil is due")
    elif isinstance(value, list):
        for item in value:
            _refuse_non_finite(item)


def _header(fields: list[Any], key: bytes) -> tuple[int, int, int | None, int, int]:
    if len(fields) < HEADER_FIELDS:
        raise PayloadError(f"{len(fields)} fields, at least {HEADER_FIELDS} expected", key)
    schema, epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns = fields[:HEADER_FIELDS]
    if schema.__class__ is not int or schema < 1:
        raise PayloadError(f"schema {schema!r} is not a positive integer", key)
    for name, value in (
        ("epoch", epoch),
        ("seq", seq),
        ("recv_ts_ns", recv_ts_ns),
        ("pub_ts_ns", pub_ts_ns),
    ):
        if value.__class__ is not int or value < 0:
            raise PayloadError(f"{name} must be an integer ≥ 0, not {value!r:.40}", key)
    if venue_ts_ns is not None and venue_ts_ns.__class__ is not int:
        raise PayloadError(f"venue_ts_ns must be an integer or nil, not {venue_ts_ns!r:.40}", key)
    return epoch, seq, venue_ts_ns, recv_ts_ns, pub_ts_ns


def _whole_decoder(body_type: type[Body]) -> Callable[[bytes], Any]:
    """Decodes header and body of a payload in one step."""
    natural = Annotated[int, msgspec.Meta(ge=0)]
    header = [
        ("_schema", Annotated[int, msgspec.Meta(ge=1)]),
        ("_epoch", natural),
        ("_seq", natural),
        ("_venue_ts_ns", int | None),
        ("_recv_ts_ns", natural),
        ("_pub_ts_ns", natural),
    ]
    body = [
        (one.name, one.type) if one.required else (one.name, one.type, one.default)
        for one in msgspec.structs.fields(body_type)
    ]
    name = f"Whole{body_type.__name__}"
    whole = msgspec.defstruct(name, [*header, *body], array_like=True, gc=False)
    return msgspec.msgpack.Decoder(whole).decode


_WHOLE = {name: _whole_decoder(spec.body_type) for name, spec in STREAMS.items()}
