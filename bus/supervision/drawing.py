"""Tables with colours for a terminal, as lines of text. Pure; for what is drawn once.

The live screen is rich's, and what is on it is drawn here, too: importing rich takes as long as
a query does with its answer, and only who stays waits for that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

GAP: Final = 2
"""Columns of the terminal between two of a table."""
_RESET: Final = "\x1b[0m"
_MOODS: Final = {
    "good": "\x1b[32m",
    "odd": "\x1b[33m",
    "bad": "\x1b[1;31m",
    "faint": "\x1b[2m",
    "strong": "\x1b[1m",
}


class Cell(NamedTuple):
    """A text and what to make of it: good, odd, bad, faint, strong, or plain when empty."""

    text: str
    mood: str = ""


def table_lines(
    table: Sequence[Sequence[Cell]], width: int, *, colour: bool, right: Collection[int] = ()
) -> list[str]:
    """Rows of as many cells each, in columns; those of ``right``, by index, end in one line.

    Where a terminal of ``width`` leaves the last column less room than it needs, that is broken
    into lines at its words; the others keep theirs. No line ends with blanks.
    """
    widths = [max(len(cell.text) for cell in column) for column in zip(*table, strict=True)]
    room = max(1, width - sum(widths[:-1]) - GAP * (len(widths) - 1))
    widths[-1] = min(widths[-1], room)
    lines = []
    for row in table:
        for part in _broken(row, room):
            cells = [
                _padded(cell, size, index in right, colour)
                for index, (cell, size) in enumerate(zip(part, widths, strict=True))
            ]
            lines.append((" " * GAP).join(cells).rstrip())
    return lines


def sentence_lines(cells: Sequence[Cell], width: int, *, colour: bool) -> list[str]:
    """Cells one after the other, on as many lines as a terminal of ``width`` needs."""
    lines: list[list[Cell]] = [[]]
    used = 0
    for cell in cells:
        if lines[-1] and used + len(cell.text) > width:
            lines.append([])
            used = 0
        lines[-1].append(cell)
        used += len(cell.text) + GAP
    return [(" " * GAP).join(_painted(cell, colour) for cell in line) for line in lines]


def _broken(row: Sequence[Cell], room: int) -> list[Sequence[Cell]]:
    """The row, and below it what of its last cell has no room beside the others."""
    text, mood = row[-1]
    if len(text) <= room:
        return [row]
    import textwrap  # only for a narrow terminal

    first, *others = textwrap.wrap(text, room)
    nothing = [Cell("")] * (len(row) - 1)
    return [[*row[:-1], Cell(first, mood)], *([*nothing, Cell(each, mood)] for each in others)]


def _padded(cell: Cell, size: int, right: bool, colour: bool) -> str:
    """The blanks stay plain, whatever the cell is."""
    blanks = " " * (size - len(cell.text))
    return blanks + _painted(cell, colour) if right else _painted(cell, colour) + blanks


def _painted(cell: Cell, colour: bool) -> str:
    start = _MOODS.get(cell.mood) if colour and cell.text else None
    return f"{start}{cell.text}{_RESET}" if start else cell.text
