"""What all verbs' parsers have in common."""

from __future__ import annotations

import argparse

import pytest

from bus.supervision.argument_forms import Help, add_json, add_settings, add_verb, seconds


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mdbus", formatter_class=Help)
    verb = add_verb(parser.add_subparsers(dest="verb"), "look", "look at it", "look --json    all")
    add_settings(verb)
    add_json(verb)
    return parser


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon"])
def test_seconds_are_a_positive_number(given: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        seconds(given)
    assert seconds("0.5") == 0.5


def test_a_verb_knows_where_the_bus_is_and_takes_settings(parser: argparse.ArgumentParser) -> None:
    words = ["look", "--config", "a.toml", "--run-dir", "/run/x", "--set", "a=1", "--set", "b=2"]
    found = parser.parse_args(words)
    assert (found.config, found.run_dir) == ("a.toml", "/run/x")
    assert (found.overrides, found.json) == (["a=1", "b=2"], False)
    assert parser.parse_args(["look"]).overrides == [], "one call leaves nothing for the next"


def test_help_shows_the_examples_with_the_programs_name_as_wide_as_the_terminal(
    parser: argparse.ArgumentParser,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    with pytest.raises(SystemExit):
        parser.parse_args(["look", "--help"])
    text = capsys.readouterr().out
    assert "examples:\n  mdbus look --json    all" in text
    assert max(map(len, text.splitlines())) <= 50
