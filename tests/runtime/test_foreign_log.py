"""What libraries log comes out with its level, its logger and its traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bus.runtime.foreign_log import take_over, trace_of

Lines = list[tuple[str, str, str, str]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    taken: Lines = []
    take_over(lambda *line: taken.append(line), debug=False)
    yield taken
    root.handlers[:], root.level = handlers, level


def test_warnings_and_worse_are_taken(lines: Lines) -> None:
    logger = logging.getLogger("websockets.server")
    logger.info("not this")
    logger.warning("%d clients", 3)
    logger.critical("the end")
    assert lines == [
        ("warning", "websockets.server", "3 clients", ""),
        ("error", "websockets.server", "the end", ""),
    ]


def test_with_debug_what_is_said_by_the_way_is_taken_too(lines: Lines) -> None:
    take_over(lambda *line: lines.append(line), debug=True)
    logging.getLogger("x").info("by the way")
    logging.getLogger("x").debug("not this")
    assert lines == [("info", "x", "by the way", "")]


def test_an_exception_comes_with_its_traceback(lines: Lines) -> None:
    error = ValueError("odd")
    logging.getLogger("x").error("failed", exc_info=error)
    assert lines == [("error", "x", "failed", trace_of(error))]
    assert lines[0][3].endswith("ValueError: odd")
