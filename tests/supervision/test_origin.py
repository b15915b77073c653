"""Where settings came from, read once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import load
from bus.errors import ConfigError
from bus.supervision.origin import Origin, select_feeds


def test_what_was_written_since_is_read(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "mdbus.toml", overrides=("bridge.workers=3",), feeds=("binance",))
    assert origin.read().log_level == "info", "no file, all defaults"
    origin.file.write_text('log_level = "debug"\n[bridge]\nworkers = 1\n')
    read = origin.read()
    assert (read.log_level, read.bridge.workers) == ("debug", 3), "the command line stays above"
    assert [name for name, feed in read.feeds.items() if feed.enabled] == ["binance"]


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Origin(tmp_path / "mine.toml", required=True).read()


@pytest.mark.parametrize(
    ("flags", "enabled"),
    [
        ((), {"binance", "finnhub"}),
        (("binance",), {"binance"}),
        (("finnhub",), {"finnhub"}),
        (("binance", "finnhub"), {"binance", "finnhub"}),
    ],
)
def test_feeds_can_be_chosen_by_flags(flags: tuple[str, ...], enabled: set[str]) -> None:
    chosen = select_feeds(load(), flags)
    assert {name for name, feed in chosen.feeds.items() if feed.enabled} == enabled


def test_a_feed_that_is_not_there_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="no such feed"):
        select_feeds(load(), ["nasdaq"])
