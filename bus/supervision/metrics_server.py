"""``metrics --listen``: the figures over HTTP, on loopback."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from bus.supervision import exit_codes
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.metrics import CONTENT_TYPE, exposition
from bus.supervision.metrics_verb import AddressError

_PATH: Final = "/metrics"
_LOOK_EVERY_S: Final = 0.25
"""How soon an interrupt ends it."""


def application(run_dir: str) -> Callable[..., Iterable[bytes]]:
    """The WSGI application: ``GET /metrics`` and nothing else."""

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        if environ["PATH_INFO"] != _PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [f"there is only {_PATH}\n".encode()]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return []
        try:
            text = exposition(ask(run_dir, "status"))
        except NoSupervisorError:
            text = exposition(None)
        except RefusedError as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [f"{error}\n".encode()]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
        return [text.encode()]

    return answer


class _Server(WSGIServer):
    address_family = socket.AF_INET


class _Server6(WSGIServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """A scrape every few seconds is not worth a line each."""

    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(host: str, port: int, run_dir: str) -> int:
    """Serve on a loopback address until interrupted; raises `AddressError` when that cannot be."""
    try:
        kind = _Server6 if ":" in host else _Server
        server = make_server(host, port, application(run_dir), kind, _Quiet)
    except OSError as error:
        raise AddressError(f"{host}:{port}: {error.strerror or error}") from error
    with server:
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"http://{shown}:{server.server_port}{_PATH}  (Ctrl-C ends it)\n")
        sys.stdout.flush()
        # Not by an exception: one that comes while a request is answered is lost in the library.
        ended: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: ended.append(number))
        server.timeout = _LOOK_EVERY_S
        while not ended:
            server.handle_request()
    return exit_codes.OK
