"""``top``: the processes and the state of the bus, again every second."""

from __future__ import annotations

import argparse
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bus.supervision import exit_codes
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.documents import json_line
from bus.supervision.locate import run_dir_for
from bus.supervision.top import GAP, HEADINGS, NUMBERS, Cell, fitting, rows, system_line

if TYPE_CHECKING:  # at run time where there is somebody to draw for: it takes 30 ms
    from rich.console import Group
    from rich.text import Text

_WIDE: Final = 200
_STYLES: Final = {"good": "green", "odd": "yellow", "bad": "bold red", "faint": "dim", "": ""}


def run_top(arguments: argparse.Namespace) -> int:
    """Show it until ``q`` or Ctrl-C; once with ``--once`` or when nobody looks."""
    path = run_dir_for(arguments)
    status = ask(path, "status")
    if arguments.json:
        return _follow_json(path, status, arguments.interval, once=arguments.once)
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if arguments.once or not console.is_terminal:
        wide = console if console.is_terminal else Console(width=_WIDE)
        wide.print(picture(status, wide.width))
        return exit_codes.OK
    with (
        _keys() as quit_asked,
        Live(picture(status, console.width), console=console, screen=True) as live,
    ):
        while not quit_asked(arguments.interval):
            live.update(_next_picture(path, console.width), refresh=True)
    return exit_codes.OK


def picture(status: dict[str, Any], width: int) -> Group:
    """The screen: the line for the system and the table of processes, as far as it has room."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    line = Text("  ").join(_styled(cell) for cell in system_line(status))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    cells = rows(status)
    columns = fitting(cells, width)
    for heading in (HEADINGS[index] for index in columns):
        right = heading in NUMBERS
        last = heading == HEADINGS[-1]  # the one that may be broken when the screen is narrow
        table.add_column(heading, justify="right" if right else "left", no_wrap=not last)
    for row in cells:
        table.add_row(*(_styled(row[index]) for index in columns))
    return Group(line, Text(""), table)


def _next_picture(path: str, width: int) -> Group:
    """The screen as it is now; a supervisor that has gone is said and waited for."""
    from rich.console import Group
    from rich.text import Text

    try:
        return picture(ask(path, "status"), width)
    except RefusedError as error:
        return Group(Text(f"{error}", style="bold red"), Text("waiting; q to leave", style="dim"))


def _styled(cell: Cell) -> Text:
    from rich.text import Text

    return Text(cell.text, style=_STYLES[cell.mood])


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
