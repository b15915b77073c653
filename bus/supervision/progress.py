"""What happens while a command waits, for whoever looks: the supervisor's events as they come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading

_POLL_S: Final = 0.1


@contextmanager
def progress(run_dir: str, names: Sequence[str]) -> Iterator[None]:
    """Print to a terminal, on standard error, the events of processes while the block runs.

    ``names`` are processes, or kinds (``bridge``, ``feed``) for all of them. Without a terminal
    nothing is read, and nothing printed.
    """
    if not sys.stderr.isatty():
        yield
        return
    import threading  # all of these only where somebody looks
    from pathlib import Path

    from bus.supervision.event_verb import parsed
    from bus.supervision.events import FILE_NAME
    from bus.supervision.log_verb import Followed
    from bus.supervision.tables import event_line

    log = Followed(Path(run_dir) / "log" / FILE_NAME)
    done = threading.Event()

    def show() -> None:
        for event in parsed(log.read().splitlines()):
            if is_of(event.process, names):
                at_ns, kind, process, text = event
                sys.stderr.write(event_line(at_ns, kind, process, text, colour=True) + "\n")
        sys.stderr.flush()

    thread = threading.Thread(target=_until, args=(done, show), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        log.close()


def is_of(process: str, names: Sequence[str]) -> bool:
    """Whether ``names`` mean that process, by its name or its kind."""
    return process in names or process.partition(".")[0] in names


def _until(done: threading.Event, show: Callable[[], None]) -> None:
    while not done.wait(_POLL_S):
        show()
    show()
