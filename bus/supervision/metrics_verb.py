"""``metrics``: every figure of every process for Prometheus, once or over HTTP.

A process of its own, which only asks the supervisor what ``status`` asks: scraping costs the bus
nothing else, and a scraper that misbehaves meets no process that matters.
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from bus.supervision import exit_codes
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.locate import run_path_for

_PATH: Final = "/metrics"
_LOOK_EVERY_S: Final = 0.25
"""How soon an interrupt ends it."""


class AddressError(Exception):
    """``--listen`` names no address this may listen on; the message is for the user."""


def run_metrics(arguments: argparse.Namespace) -> int:
    """Print the figures; with ``--listen`` serve them until interrupted."""
    from bus.supervision.metrics import exposition

    run_path = run_path_for(arguments)
    if arguments.listen is None:
        sys.stdout.write(exposition(ask(run_path, "status")))
        return exit_codes.OK
    try:
        return _serve(*loopback_address(arguments.listen), run_path)
    except AddressError as error:
        sys.stderr.write(f"mdbus: --listen: {error}\n")
        return exit_codes.USAGE


def loopback_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``PORT``; raises AddressError with what is wrong."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise AddressError(f"{text!r} is not PORT or HOST:PORT, e.g. 127.0.0.1:9464")
    try:
        loopback = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        raise AddressError(f"{host!r} is not an address of this machine's loopback") from None
    if not loopback:
        raise AddressError(
            f"{host} is not loopback; nothing here asks who is asking. Put a server that does in "
            "front, or write the figures to a file for node_exporter: mdbus metrics > mdbus.prom"
        )
    return host, int(port)


def application(run_path: Path) -> Callable[..., Iterable[bytes]]:
    """The WSGI application: ``GET /metrics`` and nothing else."""
    from bus.supervision.metrics import CONTENT_TYPE, exposition

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        if environ["PATH_INFO"] != _PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [f"there is only {_PATH}\n".encode()]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return []
        try:
            text = exposition(ask(run_path, "status"))
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


def _serve(host: str, port: int, run_path: Path) -> int:
    try:
        kind = _Server6 if ":" in host else _Server
        server = make_server(host, port, application(run_path), kind, _Quiet)
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
