"""reload, as typed."""

from __future__ import annotations

import json

import pytest

from bus.supervision.cli import main
from bus.supervision.reload_verb import report
from tests.supervision.conftest import Driven


def test_nothing_changed(played_bus: Driven, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reload", "--run-dir", str(played_bus.run_dir)]
    assert main(words) == 0
    assert capsys.readouterr().out == "nothing has changed\n"


def test_a_dry_run_shows_the_difference_and_whom_it_touches(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reload", "--dry-run", "--run-dir", str(played_bus.run_dir)]
    file = played_bus.run_dir / "mdbus.toml"
    file.write_text("[feeds.finnhub]\nretry_cap_s = 7.0\n")
    try:
        assert main(words) == 0
        assert capsys.readouterr().out == (
            "- feeds.finnhub.retry_cap_s = 30.0\n"
            "+ feeds.finnhub.retry_cap_s = 7.0\n"
            "\n"
            "bridge.2: restart\n"
            "feed.finnhub: restart\n"
            "bridge.1: tell the new settings\n"
            "nothing was done (--dry-run)\n"
        )
        assert main([*words, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["changes"] == [{"key": "feeds.finnhub.retry_cap_s", "old": 30.0, "new": 7.0}]
    finally:
        file.unlink()


def test_wrong_settings_are_2_with_every_problem(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    file = played_bus.run_dir / "mdbus.toml"
    file.write_text("log_levl = 1\n[bridge]\nhorst = 1\n")
    try:
        assert main(["reload", "--run-dir", str(played_bus.run_dir)]) == 2
    finally:
        file.unlink()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("mdbus: ") for line in lines)
    assert "did you mean log_level?" in lines[0]
    assert "nothing was changed" in lines[2]


def test_what_only_one_side_has_is_one_line() -> None:
    result = {
        "changes": [{"key": "aliases.X", "old": None, "new": "A@b"}],
        "steps": [],
    }
    assert report(result, dry_run=False) == '+ aliases.X = "A@b"\n\nno process is affected\n'
