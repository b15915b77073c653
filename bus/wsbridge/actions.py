"""From the text of a client to a checked request, or to the refusal it deserves.

Pure. Whatever the bytes are, the result is a value: a :data:`~bus.wsbridge.messages.Request` whose
fields are in range, or a :class:`Refusal` with an error code, the field at fault and a sentence of
our own (never a library's, never an exception's).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bus.wsbridge.messages import (
    Request,
    RequestId,
    SetRequest,
    SnapshotRequest,
    Subscribe,
    Unsubscribe,
)
from bus.wsbridge.messages.requests import (
    MAX_ID_CHARS,
    MAX_ID_INT,
    REQUEST_TYPES,
    UNSUPPORTED_ACTIONS,
)
from bus.wsbridge.topics import shown

MAX_TOPICS_PER_REQUEST = 4_096
MAX_REQUESTS_PER_FRAME = 64
MAX_BATCH_MS = 250
HEARTBEAT_MS = (1_000, 60_000)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message of a client is not acted upon; becomes an ``error`` message."""

    code: str
    message: str
    id: RequestId | UnsetType = UNSET
    field: str | UnsetType = UNSET


class _Head(msgspec.Struct):
    """The fields that every request may have, before it is known which request it is."""

    id: msgspec.Raw | UnsetType = UNSET
    action: msgspec.Raw | UnsetType = UNSET


class _Codec:
    """The decoders of one codec."""

    def __init__(self, decoder: Any) -> None:
        self.head = decoder(_Head)
        self.any = decoder()
        self.id = decoder(str | int)
        self.list = decoder(list[msgspec.Raw])
        self.requests = {name: decoder(kind) for name, kind in REQUEST_TYPES.items()}


_CODECS = {
    "json": _Codec(msgspec.json.Decoder),
    "msgpack": _Codec(msgspec.msgpack.Decoder),
}
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_AT_FIELD = re.compile(r"`\$\.([a-z_]{1,32})")


def split_requests(text: bytes, codec: str = "json") -> list[bytes] | Refusal:
    """The requests of one frame of the full profile: one, or an array of at most 64."""
    is_array = text.lstrip(b" \t\r\n")[:1] == b"["
    if codec == "msgpack":
        is_array = bool(text) and (0x90 <= text[0] <= 0x9F or text[0] in (0xDC, 0xDD))
    if not is_array:
        return [text]
    try:
        requests: list[msgspec.Raw] = _CODECS[codec].list.decode(text)
    except _UNREADABLE:
        return Refusal("bad_json", _NO_OBJECT[codec])
    if not 1 <= len(requests) <= MAX_REQUESTS_PER_FRAME:
        return Refusal("bad_request", f"an array has 1 to {MAX_REQUESTS_PER_FRAME} requests")
    return [bytes(raw) for raw in requests]


_NO_OBJECT = {
    "json": "a message is one JSON object",
    "msgpack": "a message is one MessagePack map",
}


def parse_request(
    text: bytes, *, max_depth: int, max_history: int, codec: str = "json"
) -> Request | Refusal:
    """Read one request of a client (JSON is checked to be UTF-8 already)."""
    use = _CODECS[codec]
    try:
        use.any.decode(text)  # the whole text: a typed decode skips what it has no field for
        head: _Head = use.head.decode(text)
    except _UNREADABLE:
        return Refusal("bad_json", _NO_OBJECT[codec])
    except (ValueError, TypeError):  # a map of MessagePack with keys that nothing can hold
        return Refusal("bad_json", _NO_OBJECT[codec])
    request_id = _request_id(head.id, use)
    if isinstance(request_id, Refusal):
        return request_id
    action = _text(head.action, use)
    if action is None:
        return Refusal(
            "bad_request", "action is missing or not a string", id=request_id, field="action"
        )
    if action in UNSUPPORTED_ACTIONS:
        return Refusal(
            "unsupported", f"the action {action} is not enabled", id=request_id, field="action"
        )
    decoder = use.requests.get(action)
    if decoder is None:
        known = ", ".join(REQUEST_TYPES)
        sentence = f"there is no action {shown(action)}; actions are {known}"
        return Refusal("unknown_action", sentence, id=request_id, field="action")
    try:
        request: Request = decoder.decode(text)
    except msgspec.ValidationError as error:
        found = _AT_FIELD.search(str(error))
        field = found[1] if found else action
        sentence = f"{field} is of the wrong type for {action}"
        return Refusal("bad_request", sentence, id=request_id, field=field)
    refusal = _checked(request, max_depth, max_history)
    if refusal is not None:
        return Refusal(refusal.code, refusal.message, request_id, refusal.field)
    return request


def _request_id(raw: msgspec.Raw | UnsetType, use: _Codec) -> RequestId | UnsetType | Refusal:
    if raw is UNSET:
        return UNSET
    try:
        found: RequestId = use.id.decode(bytes(raw))
    except msgspec.DecodeError:
        found = ""
    if isinstance(found, str) and 1 <= len(found) <= MAX_ID_CHARS:
        return found
    if isinstance(found, int) and -MAX_ID_INT < found < MAX_ID_INT:
        return found
    sentence = f"id is a string of 1 to {MAX_ID_CHARS} characters or an integer below 2^53"
    return Refusal("bad_request", sentence, field="id")


def _text(raw: msgspec.Raw | UnsetType, use: _Codec) -> str | None:
    if raw is UNSET:
        return None
    value = use.any.decode(bytes(raw))
    return value if isinstance(value, str) else None


def _checked(request: Request, max_depth: int, max_history: int) -> Refusal | None:
    if isinstance(request, Subscribe):
        return (
            _check_names(request)
            or _check_depth(request.depth, max_depth)
            or _check_history(request.history, max_history)
            or _check_since(request)
            or _check_options(request)
        )
    if isinstance(request, SnapshotRequest):
        return (
            _check_names(request)
            or _check_depth(request.depth, max_depth)
            or _check_history(request.history, max_history)
            or _check_choices(request, ("book", "numbers"))
        )
    if isinstance(request, Unsubscribe):
        return _check_names(request)
    if isinstance(request, SetRequest):
        return _check_set(request)
    return None


def _check_names(request: Subscribe | SnapshotRequest | Unsubscribe) -> Refusal | None:
    given = [
        name for name in ("symbols", "symbol", "topics") if getattr(request, name) is not UNSET
    ]
    if len(given) > 1:
        sentence = f"{' and '.join(given)} exclude each other"
        return Refusal("bad_request", sentence, field=given[1])
    if not given:
        if isinstance(request, Unsubscribe):  # whether names are needed depends on the endpoint
            return None
        return Refusal("bad_request", "symbols or topics is missing", field="symbols")
    field = given[0]
    value = getattr(request, field)
    if not value:
        return Refusal("bad_request", f"{field} is empty", field=field)
    if field != "symbol" and len(value) > MAX_TOPICS_PER_REQUEST:
        sentence = f"{field} has more than {MAX_TOPICS_PER_REQUEST} entries"
        return Refusal("bad_request", sentence, field=field)
    if request.stream_type is not UNSET:
        if field == "topics":
            sentence = "topics name their streams; stream_type goes with symbols"
            return Refusal("bad_request", sentence, field="stream_type")
        if not request.stream_type or len(request.stream_type) > 64:
            return Refusal("bad_request", "stream_type is empty or too long", field="stream_type")
        kinds = 1 if isinstance(request.stream_type, str) else len(request.stream_type)
        symbols = 1 if field == "symbol" else len(value)
        if symbols * kinds > MAX_TOPICS_PER_REQUEST:
            sentence = f"symbols and stream types make more than {MAX_TOPICS_PER_REQUEST} topics"
            return Refusal("bad_request", sentence, field="stream_type")
    return None


def _check_depth(depth: int | UnsetType, max_depth: int) -> Refusal | None:
    if depth is UNSET or 1 <= depth <= max_depth:
        return None
    if depth < 1:
        return Refusal("bad_request", "depth is at least 1 level", field="depth")
    return Refusal("limit_depth", f"depth is at most {max_depth} levels", field="depth")


def _check_history(history: int | UnsetType, max_history: int) -> Refusal | None:
    if history is UNSET or 0 <= history <= max_history:
        return None
    return Refusal("bad_request", f"history is 0 to {max_history} messages", field="history")


def _check_since(request: Subscribe) -> Refusal | None:
    for position in request.since.values():
        if position.seq < 0 or not 1 <= len(position.epoch) <= 16:
            sentence = "since maps a topic to an epoch (1 to 16 characters) and a seq of 0 or more"
            return Refusal("bad_request", sentence, field="since")
    return None


def _check_options(request: Subscribe) -> Refusal | None:
    if request.conflate_ms is not UNSET and request.conflate_ms < 0:
        return Refusal("bad_request", "conflate_ms is 0 or more", field="conflate_ms")
    return _check_choices(request, ("book", "on_slow", "numbers"))


CHOICES = {
    "book": ("full", "delta"),
    "on_slow": ("close", "gap"),
    "numbers": ("float", "string"),
}


def _check_choices(request: Subscribe | SnapshotRequest, fields: tuple[str, ...]) -> Refusal | None:
    for field in fields:
        value = getattr(request, field)
        if value is not UNSET and value not in CHOICES[field]:
            return Refusal("bad_request", f"{field} is {' or '.join(CHOICES[field])}", field=field)
    return None


def _check_set(request: SetRequest) -> Refusal | None:
    if request.batch_ms is not UNSET and not 0 <= request.batch_ms <= MAX_BATCH_MS:
        sentence = f"batch_ms is 0 (off) to {MAX_BATCH_MS}"
        return Refusal("bad_request", sentence, field="batch_ms")
    low, high = HEARTBEAT_MS
    beat = request.heartbeat_ms
    if beat is not UNSET and beat != 0 and not low <= beat <= high:
        sentence = f"heartbeat_ms is 0 (off) or {low} to {high}"
        return Refusal("bad_request", sentence, field="heartbeat_ms")
    if request.events is not UNSET and request.events not in ("all", "none"):
        return Refusal("bad_request", "events is all or none", field="events")
    return None
