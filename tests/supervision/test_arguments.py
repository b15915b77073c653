"""The arguments of the command line: what the help shows can be typed as it stands."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from bus.supervision.arguments import make_parser
from bus.supervision.cli import _VERBS


def examples(text: str) -> list[str]:
    """The commands under ``examples:`` of a help text, without what they are for."""
    _, _, shown = text.partition("examples:\n")
    lines = [line.strip() for line in shown.split("\n\n")[0].splitlines()]
    return [re.split(r"\s{2,}", line)[0] for line in lines if line]


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        make_parser("mdbus").parse_args([verb, "--help"])
    return capsys.readouterr().out


def test_the_examples_of_every_verb_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("mdbus")
    texts = [parser.format_help(), *(help_of(verb, capsys) for verb in _VERBS)]
    found = [line for text in texts for line in examples(text)]
    assert len(found) > 25
    for line in found:
        program, *words = shlex.split(line)
        assert program == "mdbus"
        assert isinstance(parser.parse_args(words), argparse.Namespace), line


@pytest.mark.parametrize("verb", _VERBS)
def test_a_verb_alone_is_parsed_as_among_all(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = help_of(verb, capsys)
    with pytest.raises(SystemExit):
        make_parser("mdbus", verb).parse_args([verb, "--help"])
    assert capsys.readouterr().out == whole
