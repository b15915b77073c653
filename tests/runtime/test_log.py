"""Log lines: one line an event, whatever is in it."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.runtime import log
from bus.runtime.log import configure, format_line, get_logger

AT_NS = int(datetime(2026, 11, 22, 8, 22, 44, tzinfo=UTC).timestamp()) * 10**9 + 123_999_999


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    log._sink.process, log._sink.threshold, log._sink.lost_lines = "-", 20, 0


def test_a_line_has_time_level_process_logger_event_and_fields() -> None:
    fields = {"url": "wss://x/y", "attempt": 3, "lag_ms": 0.25, "ok": True, "why": None}
    assert format_line(
        "info", "feed.binance", "feeds.session", "connected", fields, at_ns=AT_NS
    ) == (
        "2026-11-22T08:22:44.123Z INFO    feed.binance feeds.session connected "
        "url=wss://x/y attempt=3 lag_ms=0.25 ok=true why=nil"
    )


def test_a_value_with_spaces_is_quoted() -> None:
    assert format_line("info", "p", "l", "e", {"k": 'a "b" c'}, at_ns=AT_NS).endswith(
        r'k="a \"b\" c"'
    )


@given(st.text(), st.text())
def test_nothing_a_venue_sends_breaks_a_line_or_reaches_a_terminal(event: str, value: str) -> None:
    line = format_line("info", "p", "l", event, {"k": value})
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_a_long_value_is_cut() -> None:
    assert len(format_line("info", "p", "l", "e", {"k": "x " * 100_000})) < 10_000


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure("p", "warning")
    logger = get_logger("x")
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    events = [line.split()[4] for line in capsys.readouterr().err.splitlines()]
    assert events == ["c", "d"]


def test_an_exception_is_one_line_that_ends_in_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("p")
    try:
        raise ValueError("no\nway")
    except ValueError as error:
        get_logger("x").exception("crashed", error)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.search(r'trace="Traceback .*ValueError', lines[0])


def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure("p")
    logging.getLogger("websockets.client").warning("lost %s", "it all")
    assert "WARNING p websockets.client lost it all" in capsys.readouterr().err


def test_a_full_disk_loses_lines_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    configure("p")
    monkeypatch.setattr(sys, "stderr", Full())
    get_logger("x").error("anything")
    assert log.lost_lines() == 1
