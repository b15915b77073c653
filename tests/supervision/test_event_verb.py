"""The events verb: what was kept, filtered, for people and programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import bus.supervision
from bus.supervision.cli import main
from bus.supervision.event_verb import event_filter, parsed
from bus.supervision.events import KINDS, EventLog, Happening

TOLD = [
    Happening(1_000_000_000, "begun", "", "supervisor runs"),
    Happening(2_000_000_000, "ready", "feed.x", "ready in 0.10 s"),
    Happening(3_000_000_000, "exited", "feed.x", "exited with signal SIGKILL"),
    Happening(4_000_000_000, "ready", "broker", "ready in 0.20 s"),
]


@pytest.fixture
def kept(run_dir: Path) -> Path:
    (run_dir / "log").mkdir()
    log = EventLog()
    log.keep_in(run_dir / "log")
    for happening in TOLD:
        log.add(happening)
    return run_dir


def texts(kept: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["events", "--run-dir", str(kept), "--json", *words]) == 0
    return [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]


def test_all_of_them_oldest_first(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert texts(kept, capsys) == [event.text for event in TOLD]


def test_filters_and_the_last_n(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert texts(kept, capsys, "feed.x", "--kind", "exited") == [TOLD[2].text]
    assert texts(kept, capsys, "supervisor") == [TOLD[0].text]
    assert texts(kept, capsys, "-n", "1") == [TOLD[3].text]
    assert texts(kept, capsys, "-n", "0") == []


def test_people_see_when_who_and_what(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "feed.x", "-n", "1", "--run-dir", str(kept)]) == 0
    line = capsys.readouterr().out
    assert "feed.x" in line
    assert "exited with signal SIGKILL" in line
    assert "1970-01-01" in line


def test_no_events_is_said(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--run-dir", str(run_dir)]) == 4
    assert "no events" in capsys.readouterr().err


def test_a_line_that_is_no_event_is_left_out() -> None:
    assert list(parsed(["", "{", TOLD[0].to_json()])) == TOLD[:1]
    assert list(filter(event_filter(["broker"], None), TOLD)) == TOLD[3:]


def test_a_kind_that_there_is_not_is_told_with_those_there_are(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", "--kind", "nope", "--run-dir", str(kept)]) == 2
    assert "there is no kind 'nope'; the kinds are begun, waiting" in capsys.readouterr().err


def test_every_kind_that_is_told_is_one() -> None:
    source = Path(bus.supervision.__file__).parent
    told = set()
    for file in source.glob("*.py"):
        told |= set(re.findall(r'(?:_say|self\.say)\(\s*"(\w+)"', file.read_text()))
        told |= set(re.findall(r'Happening\(now_ns\(\), "(\w+)"', file.read_text()))
    told |= set(re.findall(r'return "(\w+)",', (source / "narration.py").read_text()))
    assert {"restarting", "note", "begun", "limit"} <= told <= {*KINDS}


def test_a_name_without_an_event_is_said(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "nope", "--run-dir", str(kept)]) == 3
    assert "no events of nope" in capsys.readouterr().err
    assert main(["events", "broker", "--json", "--run-dir", str(kept)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["version"] for line in lines] == [1]
