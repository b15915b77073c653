"""The boundary between clients: a fault of one connection costs that connection and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from bus.runtime import get_logger

_log = get_logger("wsbridge.faults")


class Abortable(Protocol):
    """A connection, as far as a fault is concerned."""

    def abort(self) -> None:
        """Cut the connection off."""


AbortableT = TypeVar("AbortableT", bound=Abortable)


class Faults:
    """Counts what went wrong here; all of it, while the log has the 1st, 2nd, 4th, 8th, …"""

    def __init__(self) -> None:
        self.count = 0

    def each(self, connections: Iterable[AbortableT], act: Callable[[AbortableT], None]) -> None:
        """Do something with each connection; one where that fails is cut off.

        ``connections`` must not change meanwhile.
        """
        for connection in connections:
            try:
                act(connection)
            except Exception as error:  # noqa: BLE001  (the boundary between clients)
                self.cut_off(connection, error)

    def cut_off(self, connection: Abortable, error: Exception) -> None:
        """End the connection whose fault it is."""
        self.note("connection cut off", error)
        connection.abort()

    def note(self, what: str, error: Exception) -> None:
        """Something else went wrong."""
        self.count += 1
        if is_told(self.count):
            _log.exception(what, error, so_far=self.count)


def is_told(count: int) -> bool:
    """Which of many equal events are logged: the 1st, 2nd, 4th, 8th, … A counter has them all."""
    return count & (count - 1) == 0
