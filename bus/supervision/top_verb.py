"""``top``: the processes and the state of the bus, again every second."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bus.supervision import exit_codes
from bus.supervision.argument_forms import columns
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.documents import json_line
from bus.supervision.locate import run_dir_for
from bus.supervision.tables import wants_colour
from bus.supervision.top import picture

if TYPE_CHECKING:  # at run time where somebody stays to look: it takes longer than one look
    from rich.text import Text

_WIDE: Final = 200


def run_top(arguments: argparse.Namespace) -> int:
    """Show it until ``q`` or Ctrl-C; once with ``--once`` or when nobody looks."""
    path = run_dir_for(arguments)
    status = ask(path, "status")
    if arguments.json:
        return _follow_json(path, status, arguments.interval, once=arguments.once)
    looks = sys.stdout.isatty()
    if arguments.once or not looks:
        width = columns() if looks else _WIDE
        for line in picture(status, width, colour=wants_colour(sys.stdout)):
            sys.stdout.write(line + "\n")
        return exit_codes.OK
    return _live(path, status, arguments.interval)


def _live(path: str, status: dict[str, Any], interval_s: float) -> int:
    """The screen again and again, until ``q``."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with (
        _keys() as quit_asked,
        Live(_screen(status, console.width), console=console, screen=True) as live,
    ):
        while not quit_asked(interval_s):
            live.update(_next_screen(path, console.width), refresh=True)
    return exit_codes.OK


def _screen(status: dict[str, Any], width: int) -> Text:
    from rich.text import Text

    return Text.from_ansi("\n".join(picture(status, width, colour=True)), no_wrap=True)


def _next_screen(path: str, width: int) -> Text:
    """The screen as it is now; a supervisor that has gone is said and waited for."""
    from rich.text import Text

    try:
        return _screen(ask(path, "status"), width)
    except RefusedError as error:
        return Text.assemble((f"{error}\n", "bold red"), ("waiting; q to leave", "dim"))


def _follow_json(path: str, status: dict[str, Any], interval_s: float, *, once: bool) -> int:
    """The answer to ``status``, one line each time."""
    while True:
        sys.stdout.write(json_line(status) + "\n")
        sys.stdout.flush()
        if once:
            return exit_codes.OK
        time.sleep(interval_s)
        status = ask(path, "status")


@contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds and is True once ``q`` was pressed."""
    import select  # for who stays
    import termios
    import tty

    if not sys.stdin.isatty():

        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield wait
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield lambda seconds: bool(
            select.select([fd], [], [], seconds)[0] and sys.stdin.read(1) in ("q", "Q", "")
        )
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
