"""The form of what ``--json`` prints."""

from __future__ import annotations

import json

import pytest

from bus.supervision.documents import VERSION, json_line, print_document


def test_every_document_has_its_version_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_document({"name": "…", "n": 1})
    text = capsys.readouterr().out
    assert list(json.loads(text).items()) == [("version", VERSION), ("name", "…"), ("n", 1)]
    assert text.endswith("}\n")


def test_a_line_is_one_line() -> None:
    line = json_line({"text": "two\nlines"})
    assert "\n" not in line
    assert json.loads(line) == {"version": VERSION, "text": "two\nlines"}
