"""Plain HTTP beside the WebSocket endpoints: the page, its files, ``/healthz`` and ``/readyz``.

Answers are made from the request object of the ``websockets`` library, which has parsed it; nothing
is parsed by hand and no path of a request ever touches the file system: the files are read once,
at start, and looked up by their exact URL. What describes the messages is made once, at the first
request for it. One request a connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from importlib.resources import files
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from bus.wsbridge.messages.schema import asyncapi, json_schema
from bus.wsbridge.messages.typescript import typescript

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    "/ws/mdbus.js": ("mdbus.js", "text/javascript; charset=utf-8"),
}


_MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "/ws/schema.json": (lambda: msgspec.json.encode(json_schema()), "application/schema+json"),
    "/ws/asyncapi.json": (lambda: msgspec.json.encode(asyncapi()), "application/json"),
    "/ws/mdbus.d.ts": (lambda: typescript().encode(), "text/plain; charset=utf-8"),
}
"""What is made from the message definitions, when it is first asked for."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What ``/readyz`` tells: 200 when accepting and the bus is there, else 503 and why."""

    accepting: bool
    bus_connected: bool

    @property
    def is_ready(self) -> bool:
        """Whether a load balancer should send clients here."""
        return self.accepting and self.bus_connected


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """The files that are served, held in memory."""

    def __init__(self) -> None:
        folder = files("bus.wsbridge") / "page"
        self._files: dict[str, _File] = {}
        for url, (name, content_type) in _FILES.items():
            self._files[url] = _file((folder / name).read_bytes(), content_type)

    def answer(self, request: Request, readiness: Readiness) -> Response:
        """The answer to a request that is not for a WebSocket endpoint."""
        path = request.path.partition("?")[0]
        if request.method not in ("GET", "HEAD"):
            refused = plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served here")
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        if path == "/healthz":
            response = plain(HTTPStatus.OK, "ok")
        elif path == "/readyz":
            response = _readyz(readiness)
        elif (found := self._file(path)) is not None:
            response = _page(request, found)
        else:
            response = plain(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        if request.method == "HEAD":
            response.body = b""  # Content-Length stays that of the body a GET would have had
        return response

    def _file(self, path: str) -> _File | None:
        found = self._files.get(path)
        if found is None and path in _MADE:
            make, content_type = _MADE[path]
            found = self._files[path] = _file(make(), content_type)
        return found


def _file(body: bytes, content_type: str) -> _File:
    return _File(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def plain(status: HTTPStatus, line: str, *, retry_after_s: int | None = None) -> Response:
    """A one-line text answer."""
    response = answer(status, f"{line}\n".encode(), "text/plain; charset=utf-8")
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def is_allowed_origin(headers: Headers, allowed: tuple[str, ...]) -> bool:
    """Whether a page of this ``Origin`` may connect.

    Allowed: no Origin (a program), the very host and port the request was sent to (a page of ours)
    when that is an address or ``localhost``, and the origins in ``allowed`` (``*``: every one).
    ``null``, several Origin headers, and hosts that only begin or end like an allowed one are not.
    Nor is any other name that is not listed, even the request's own: whoever owns a name can point
    it at this machine after his page was loaded from it (DNS rebinding).
    """
    try:
        origin = headers.get("Origin")
        host = headers.get("Host")
    except MultipleValuesError:
        return False
    if origin is None:
        return True
    if "*" in allowed or origin.lower() in (entry.lower().rstrip("/") for entry in allowed):
        return True
    if host is None:
        return False
    ours = _authority(f"{_scheme(origin)}://{host}")
    return isinstance(ours, tuple) and _authority(origin) == ours and _cannot_be_rebound(ours[0])


def _cannot_be_rebound(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        ip_address(hostname)
    except ValueError:
        return False
    return True


def _scheme(origin: str) -> str:
    return origin.partition("://")[0].lower()


def _authority(url: str) -> tuple[str, int] | object:
    """(host, port) of an http(s) origin; something equal to nothing else for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return object()
    default = {"http": 80, "https": 443}.get(parts.scheme)
    bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if default is None or not parts.hostname or not bare:
        return object()
    return parts.hostname, default if port is None else port


def _readyz(readiness: Readiness) -> Response:
    body = msgspec.json.encode(
        {
            "ready": readiness.is_ready,
            "accepting": readiness.accepting,
            "bus_connected": readiness.bus_connected,
        }
    )
    status = HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return answer(status, body + b"\n", "application/json")


def _page(request: Request, found: _File) -> Response:
    if found.etag in request.headers.get_all("If-None-Match"):
        response = answer(HTTPStatus.NOT_MODIFIED, b"", found.content_type)
    else:
        response = answer(HTTPStatus.OK, found.body, found.content_type)
    headers = response.headers
    headers["ETag"] = found.etag
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def answer(status: HTTPStatus, body: bytes, content_type: str) -> Response:
    """The answer to one request, after which the connection is closed."""
    headers = Headers(
        [
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Type", content_type),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
        ]
    )
    if status is not HTTPStatus.NOT_MODIFIED:
        headers["Content-Length"] = str(len(body))
    return Response(status.value, status.phrase, headers, body)
