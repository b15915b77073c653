"""``metrics``: every figure of every process for Prometheus, once or over HTTP.

A process of its own, which only asks the supervisor what ``status`` asks: scraping costs the bus
nothing else, and a scraper that misbehaves meets no process that matters.
"""

from __future__ import annotations

import argparse
import sys

from bus.supervision import exit_codes
from bus.supervision.control_client import ask
from bus.supervision.locate import run_dir_for


class AddressError(Exception):
    """``--listen`` names no address this may listen on; the message is for the user."""


def run_metrics(arguments: argparse.Namespace) -> int:
    """Print the figures; with ``--listen`` serve them until interrupted."""
    from bus.supervision.metrics import exposition

    run_dir = run_dir_for(arguments)
    if arguments.listen is None:
        sys.stdout.write(exposition(ask(run_dir, "status")))
        return exit_codes.OK
    from bus.supervision.metrics_server import serve  # takes longer than to print them once

    try:
        return serve(*loopback_address(arguments.listen), run_dir)
    except AddressError as error:
        sys.stderr.write(f"mdbus: --listen: {error}\n")
        return exit_codes.USAGE


def loopback_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``PORT``; raises AddressError with what is wrong."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise AddressError(f"{text!r} is not PORT or HOST:PORT, e.g. 127.0.0.1:9464")
    import ipaddress

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
