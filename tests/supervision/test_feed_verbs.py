"""feed add, remove and list, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.supervision.cli import main
from bus.supervision.feed_verbs import process_name, refusal_line
from tests.supervision.conftest import Driven


def test_feeds_are_listed(played_bus: Driven, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    assert main(["feed", "list", *where]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "feed.binance (3): BTC-USDT ETH-USDT SOL-USDT",
        "feed.finnhub (3): AAPL MSFT GOOGL",
    ]
    assert main(["feed", *where, "list", "finnhub", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "feeds": {"feed.finnhub": ["AAPL", "MSFT", "GOOGL"]},
    }


@pytest.fixture
def settings_file(played_bus: Driven) -> Iterator[Path]:
    """The operator's own file, for the time of a test."""
    path = played_bus.run_dir / "mdbus.toml"
    path.touch()
    yield path
    path.unlink()


def test_a_symbol_comes_and_goes(
    played_bus: Driven, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    assert main(["feed", "add", "binance", "DOGE-USDT", *where]) == 0
    out = capsys.readouterr().out
    assert "feed.binance (4): BTC-USDT ETH-USDT SOL-USDT DOGE-USDT\n" in out
    assert f"{settings_file} was not changed" in out
    assert '  symbols = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT"]\n' in out
    assert "after: mdbus restart bridge.2" in out
    assert main(["feed", "remove", "feed.binance", "DOGE-USDT", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["symbols"] == [
        *("BTC-USDT", "ETH-USDT", "SOL-USDT")
    ]


def test_a_refused_symbol_is_1_and_says_why(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    assert main(["feed", "add", "binance", "NO-USDT", *where]) == 1
    captured = capsys.readouterr()
    assert captured.err == "mdbus: refused: NO-USDT: not listed; did you mean YES?\n"
    assert captured.out == "", "nothing has changed, nothing is to be kept"
    assert played_bus.events("note", "feed.binance")[-1]["text"] == "refused NO-USDT"


def test_without_a_settings_file_none_is_named(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    (played_bus.run_dir / "mdbus.toml").unlink(missing_ok=True)
    assert main(["feed", "add", "binance", "XRP-USDT", "NO-USDT", *where]) == 1
    out = capsys.readouterr().out
    assert "(no settings file) to keep this" in out
    assert "mdbus.toml" not in out
    events = played_bus.events("note", "feed.binance")
    assert events[-1]["text"] == "+ XRP-USDT, refused NO-USDT"
    assert main(["feed", "remove", "binance", "XRP-USDT", *where]) == 0
    assert played_bus.events("note", "feed.binance")[-1]["text"] == "- XRP-USDT"


def test_on_a_full_disk_what_the_feed_took_is_said_and_that_it_is_not_kept(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    (played_bus.run_dir / "effective.new").symlink_to("/dev/full")
    assert main(["feed", "add", "binance", "XRP-USDT", *where]) == 1
    out = capsys.readouterr().out
    assert "XRP-USDT" in out.splitlines()[0]
    assert "not recorded (cannot write" in out
    assert "No space left" in played_bus.events("note", "feed.binance")[-1]["text"]
    assert main(["feed", "remove", "binance", "XRP-USDT", *where]) == 0


def test_an_unknown_feed_is_3(played_bus: Driven, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["feed", "list", "binanc", "--run-dir", str(played_bus.run_dir)]
    assert main(words) == 3
    assert "did you mean feed.binance?" in capsys.readouterr().err


def test_a_feed_may_be_named_either_way() -> None:
    assert process_name("binance") == process_name("feed.binance") == "feed.binance"


def test_a_refusal_without_a_reason_is_still_a_line() -> None:
    assert refusal_line({"symbol": "X"}) == "X: refused"


@pytest.mark.parametrize(
    ("nearest", "offered"),
    [("YES", "YES"), (["A"], "A"), (["A", "B", "C"], "A, B or C")],
)
def test_one_or_several_names_are_offered_in_words(nearest: object, offered: str) -> None:
    line = refusal_line({"symbol": "X", "reason": "not listed", "nearest": nearest})
    assert line == f"X: not listed; did you mean {offered}?"
