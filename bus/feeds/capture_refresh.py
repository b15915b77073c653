"""When a capture's new file makes it time to have every book whole again. Pure; seconds in.

A capture goes on in a new file each hour and at a size. The file says which connections are open
and what they are subscribed to, but a book that is only ever changed in it could not be rebuilt
from it alone; so the books are asked for anew, and the file holds them from near its beginning on.
"""

from __future__ import annotations

from typing import Final

EVERY_S: Final = 60.0
"""Books are asked for on this account at most so often, however small the files are."""


class CaptureRefresh:
    """The first file needs nothing: it begins before the first connection."""

    __slots__ = ("_files", "_next_s")

    def __init__(self) -> None:
        self._files = 1
        self._next_s = 0.0

    def due(self, files: int, now_s: float) -> bool:
        """``files`` begun so far; True once for each new one, or for several within a minute."""
        if files <= self._files or now_s < self._next_s:
            return False
        self._files = files
        self._next_s = now_s + EVERY_S
        return True
