"""From the text of a client to a checked request, or to the refusal it deserves.

Pure. Whatever the bytes are, the result is a value: a :data:`~bus.wsbridge.messages.Request` whose
fields are in range, or a :class:`Refusal` with an error code, the field at fault and a sentence of
our own (never a library's, never an exception's).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from bus.wsbridge.messages import (
    Request,
    RequestId,
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


_head_decoder = msgspec.json.Decoder(_Head)
_any_decoder = msgspec.json.Decoder()
_id_decoder = msgspec.json.Decoder(str | int)
_request_decoders = {name: msgspec.json.Decoder(kind) for name, kind in REQUEST_TYPES.items()}
_AT_FIELD = re.compile(r"`\$\.([a-z_]{1,32})")


def parse_request(text: bytes, *, max_depth: int, max_history: int) -> Request | Refusal:
    """Read one message of a client (UTF-8 JSON, checked to be UTF-8 already)."""
    try:
        _any_decoder.decode(text)  # the whole text: a typed decode skips what it has no field for
        head = _head_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return Refusal("bad_json", "a message is one JSON object")
    request_id = _request_id(head.id)
    if isinstance(request_id, Refusal):
        return request_id
    action = _text(head.action)
    if action is None:
        return Refusal(
            "bad_request", "action is missing or not a string", id=request_id, field="action"
        )
    if action in UNSUPPORTED_ACTIONS:
        return Refusal(
            "unsupported", f"the action {action} is not enabled", id=request_id, field="action"
        )
    decoder = _request_decoders.get(action)
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


def _request_id(raw: msgspec.Raw | UnsetType) -> RequestId | UnsetType | Refusal:
    if raw is UNSET:
        return UNSET
    try:
        found: RequestId = _id_decoder.decode(bytes(raw))
    except msgspec.DecodeError:
        found = ""
    if isinstance(found, str) and 1 <= len(found) <= MAX_ID_CHARS:
        return found
    if isinstance(found, int) and -MAX_ID_INT < found < MAX_ID_INT:
        return found
    sentence = f"id is a string of 1 to {MAX_ID_CHARS} characters or an integer below 2^53"
    return Refusal("bad_request", sentence, field="id")


def _text(raw: msgspec.Raw | UnsetType) -> str | None:
    if raw is UNSET:
        return None
    value = _any_decoder.decode(bytes(raw))
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
        )
    if isinstance(request, Unsubscribe):
        return _check_names(request)
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
    for field, allowed, value in (
        ("book", ("full", "delta"), request.book),
        ("on_slow", ("close", "gap"), request.on_slow),
        ("numbers", ("float", "string"), request.numbers),
    ):
        if value not in allowed:
            return Refusal("bad_request", f"{field} is {' or '.join(allowed)}", field=field)
        if value != allowed[0]:
            return Refusal("unsupported", f"{field}={value} is not enabled", field=field)
    if request.conflate_ms < 0:
        return Refusal("bad_request", "conflate_ms is 0 or more", field="conflate_ms")
    if request.conflate_ms > 0:
        return Refusal("unsupported", "conflation is not enabled", field="conflate_ms")
    if not request.allow_pending:
        return Refusal("unsupported", "allow_pending=false is not enabled", field="allow_pending")
    return None
