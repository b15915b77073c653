"""What a simulated venue answers to an HTTP request: a value, made a response at the rim."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Status, body (JSON) and the headers beside the usual ones."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def with_headers(self, **headers: str) -> HttpReply:
        """The same reply with more headers; ``_`` in a name becomes ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


def reply(value: object, status: int = 200) -> HttpReply:
    """``value`` as JSON, keys in their own order."""
    return HttpReply(status, _encode(value))


@dataclass(frozen=True, slots=True)
class Target:
    """Path and decoded query of a request line."""

    path: str
    query: dict[str, str]

    @classmethod
    def parse(cls, raw: str) -> Target:
        """Split a request target; of a repeated parameter the last value counts."""
        parts = urlsplit(raw)
        return cls(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)))


def to_response(answer: HttpReply) -> Response:
    """The reply as the library's own HTTP response; the connection ends after it."""
    status = HTTPStatus(answer.status)
    headers = Headers(
        [
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(answer.body))),
            ("Content-Type", "application/json;charset=UTF-8"),
            *answer.headers.items(),
        ]
    )
    return Response(status.value, status.phrase, headers, answer.body)
