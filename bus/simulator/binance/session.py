"""The control protocol of one Binance connection: text in, replies and subscription changes out.

Pure; knows no socket. States: a session is open until :attr:`Reply.close` is set, after which
nothing may be fed to it. Rules: binance-spot-api-docs, web-socket-streams.md, "Live Subscribing/
Unsubscribing to streams", "Websocket Limits" and "Error Messages". An unknown stream name is
acknowledged and then delivers nothing, as the venue does.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

MAX_STREAMS = 1_024
MAX_FRAMES_PER_S = 5
MAX_ID_LENGTH = 36
POLICY_VIOLATION = 1008
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")

_encode = msgspec.json.Encoder().encode
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send, and what changed: stream names newly subscribed and given up, in order.

    ``close`` is a close code and reason to use after sending, or ``None``.
    """

    message: bytes
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    close: tuple[int, str] | None = None


class _Refused(Exception):
    """A request breaks the protocol; becomes an error reply."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class Session:
    """Subscriptions and properties of one connection.

    ``combined`` says whether payloads are wrapped with their stream name; it starts as the URL
    says (``/stream`` true, ``/ws`` false). ``microseconds`` is fixed by the URL.
    """

    def __init__(self, *, combined: bool, microseconds: bool) -> None:
        self.combined = combined
        self.microseconds = microseconds
        self.streams: dict[str, None] = {}
        self._frame_times_ns: deque[int] = deque(maxlen=MAX_FRAMES_PER_S)

    def count_frame(self, now_ns: int) -> bool:
        """Count one frame of any kind from the client; ``False`` when it is one too many.

        At most :data:`MAX_FRAMES_PER_S` within any one second, pings and pongs included.
        """
        times = self._frame_times_ns
        if len(times) == MAX_FRAMES_PER_S and now_ns - times[0] < _SECOND_NS:
            return False
        times.append(now_ns)
        return True

    def open(self, streams: list[str]) -> tuple[str, ...]:
        """Subscribe to the streams named in the URL; the names that are new.

        Raises :class:`ValueError` when they are more than a connection may have.
        """
        added = tuple(dict.fromkeys(name for name in streams if name))
        if len(added) > MAX_STREAMS:
            raise ValueError("Too many subscriptions")
        self.streams.update(dict.fromkeys(added))
        return added

    def receive(self, text: str | bytes) -> Reply:
        """Handle one text message. Never raises on what a client sends."""
        request_id: object = None
        try:
            request = _parse(text)
            request_id = _request_id(request)
            return self._handle(request, request_id)
        except _Refused as refused:
            error: dict[str, object] = {"code": refused.code, "msg": str(refused)}
            if request_id is not None:
                error["id"] = request_id
            close = (POLICY_VIOLATION, "Invalid request") if refused.code == 4 else None
            return Reply(_encode(error), close=close)

    def _handle(self, request: dict[str, Any], request_id: object) -> Reply:
        method = request["method"]
        params = request.get("params")
        if method == "SUBSCRIBE":
            names = _stream_names(params)
            added = tuple(name for name in names if name not in self.streams)
            if len(self.streams) + len(added) > MAX_STREAMS:
                raise _Refused(4, "Too many subscriptions")
            self.streams.update(dict.fromkeys(added))
            return Reply(_result(None, request_id), added=added)
        if method == "UNSUBSCRIBE":
            removed = tuple(name for name in _stream_names(params) if name in self.streams)
            for name in removed:
                del self.streams[name]
            return Reply(_result(None, request_id), removed=removed)
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _Refused(2, "Invalid request: too many parameters")
            return Reply(_result(list(self.streams), request_id))
        if not isinstance(params, list) or not params or not isinstance(params[0], str):
            raise _Refused(2, "Invalid request: property name must be a string")
        if len(params) > (2 if method == "SET_PROPERTY" else 1):
            raise _Refused(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            raise _Refused(0, "Unknown property")
        if method == "GET_PROPERTY":
            return Reply(_result(self.combined, request_id))
        if len(params) < 2 or not isinstance(params[1], bool):
            raise _Refused(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return Reply(_result(None, request_id))


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise _Refused(3, f"Invalid JSON: expected value at {place}") from None
    except (UnicodeDecodeError, RecursionError):
        raise _Refused(3, "Invalid JSON: expected value at line 1 column 1") from None
    end = f"line 1 column {len(text)}"
    if not isinstance(request, dict):
        raise _Refused(2, f"Invalid request: invalid type, expected an object at {end}")
    if not set(request) <= {"method", "params", "id"}:
        raise _Refused(2, "Invalid request: too many parameters")
    return request


def _request_id(request: dict[str, Any]) -> object:
    """The id of a request that has a known method and a permitted id; else refuses."""
    method = request.get("method")
    if method is None:
        raise _Refused(2, "Invalid request: missing field `method` at line 1 column 1")
    if method not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        shown = str(method)[:64]
        raise _Refused(
            2,
            f"Invalid request: unknown variant `{shown}`, expected one of {known} "
            "at line 1 column 28",
        )
    if "id" in request:
        given = request["id"]
        if given is None:
            return None
        if isinstance(given, int) and not isinstance(given, bool) and -(2**63) <= given < 2**63:
            return given
        plain = isinstance(given, str) and given.isascii() and given.isalnum()
        if plain and len(given) <= MAX_ID_LENGTH:
            return given
    raise _Refused(2, "Invalid request: request ID must be an unsigned integer")


def _stream_names(params: object) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise _Refused(2, "Invalid request: params must be an array of stream names")
    return list(dict.fromkeys(params))


def _result(value: object, request_id: object) -> bytes:
    return _encode({"result": value, "id": request_id})
