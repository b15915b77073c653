"""How far a client's socket is behind: by the age of its oldest byte and by its last progress.

Pure; looked at 20 times a second, and only while the socket is behind. What was written by the time
of each look is noted; the oldest note that is not accepted yet tells the age, to within one look.
"""

from __future__ import annotations


class Pressure:
    """``written_bytes`` is added to by the owner; it never wraps."""

    __slots__ = ("_accepted_bytes", "_notes", "_progress_ns", "written_bytes")

    def __init__(self) -> None:
        self.written_bytes = 0
        self._accepted_bytes = 0
        self._progress_ns = 0
        self._notes: list[tuple[int, int]] = []

    def began(self, buffered_bytes: int, now_ns: int) -> None:
        """The socket is behind from here on."""
        self._accepted_bytes = self.written_bytes - buffered_bytes
        self._progress_ns = now_ns
        self._notes.clear()
        self._notes.append((self.written_bytes, now_ns))

    def look(self, buffered_bytes: int, now_ns: int) -> None:
        """So many bytes wait now."""
        accepted = self.written_bytes - buffered_bytes
        if accepted > self._accepted_bytes or not buffered_bytes:
            self._accepted_bytes = accepted
            self._progress_ns = now_ns
        notes = self._notes
        while notes and notes[0][0] <= accepted:
            del notes[0]
        if buffered_bytes and (not notes or notes[-1][0] < self.written_bytes):
            notes.append((self.written_bytes, now_ns))

    def age_ns(self, now_ns: int) -> int:
        """How long the oldest waiting byte has waited, at least; 0 while nothing waits."""
        return now_ns - self._notes[0][1] if self._notes else 0

    def stuck_ns(self, now_ns: int) -> int:
        """How long not a byte has been accepted."""
        return now_ns - self._progress_ns
