"""``events``: what happened and why, from the file the supervisor keeps.

Reads the file itself, so that it also tells how a supervisor ended that is gone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

from bus.supervision import exit_codes
from bus.supervision.control_client import RefusedError
from bus.supervision.documents import json_line
from bus.supervision.events import FILE_NAME, KINDS, Happening
from bus.supervision.locate import run_path_for
from bus.supervision.log_verb import Followed, last_lines, reader_has_left
from bus.supervision.tables import dated_event_line, wants_colour

_POLL_S: Final = 0.2
_MOST_LINES: Final = 100_000


def run_events(arguments: argparse.Namespace) -> int:
    """Print events; 4 when none were ever kept in that run directory, 3 when none of a name, 2 for
    a kind that there is not.
    """
    if arguments.kind not in (None, *KINDS):
        known = f"the kinds are {', '.join(KINDS)}"
        raise RefusedError(exit_codes.USAGE, f"there is no kind {arguments.kind!r}; {known}")
    path = run_path_for(arguments) / "log" / FILE_NAME
    if not path.exists():
        text = f"no events in {path.parent} (start: mdbus up)"
        raise RefusedError(exit_codes.NO_SUPERVISOR, text)
    wanted = max(0, min(arguments.lines, _MOST_LINES))
    followed = Followed(path) if arguments.follow else None
    passes = event_filter(arguments.names, arguments.kind)
    events = list(parsed(last_lines(path, _MOST_LINES)))
    unknown = set(arguments.names) - {event.process or "supervisor" for event in events}
    if unknown and not arguments.follow:
        names = ", ".join(sorted(unknown))
        text = f"no events of {names} are kept in {path.parent}"
        raise RefusedError(exit_codes.NO_SUCH_PROCESS, text)
    found = list(filter(passes, events))
    show = _show_json if arguments.json else _show
    show(found[-wanted:] if wanted else [])
    if followed is not None:
        _follow(followed, passes, show)
    return exit_codes.OK


def parsed(lines: Iterable[str]) -> Iterable[Happening]:
    """The events of lines; a line that is none is left out."""
    return (event for line in lines if (event := Happening.of_json(line)) is not None)


def event_filter(names: list[str], kind: str | None) -> Callable[[Happening], bool]:
    """Which events are wanted: of these processes (``supervisor`` for its own), of this kind."""

    def passes(event: Happening) -> bool:
        named = not names or (event.process or "supervisor") in names
        return named and kind in (None, event.kind)

    return passes


def _follow(
    log: Followed,
    passes: Callable[[Happening], bool],
    show: Callable[[Iterable[Happening]], None],
) -> None:
    """Print what is appended until interrupted, or until nobody reads it."""
    try:
        while not reader_has_left():
            show(filter(passes, parsed(log.read().splitlines())))
            sys.stdout.flush()
            time.sleep(_POLL_S)
    finally:
        log.close()


def _show(events: Iterable[Happening]) -> None:
    for event in events:
        line = dated_event_line(*event, colour=wants_colour(sys.stdout))
        sys.stdout.write(line + "\n")


def _show_json(events: Iterable[Happening]) -> None:
    """One object a line, so that it can be followed."""
    for event in events:
        sys.stdout.write(json_line(event._asdict()) + "\n")
