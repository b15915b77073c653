"""The doctor verb: every finding shown, and an exit code that says whether one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.config import Settings
from bus.supervision import doctor_verb
from bus.supervision.cli import main
from bus.supervision.doctor import OK, Finding

QUICK = ("bridge.port=0", "simulator.ports.binance=0", "simulator.ports.finnhub=0")
FREE = [word for each in QUICK for word in ("--set", each)]


def test_a_machine_that_is_well(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--run-dir", str(run_dir), "--json", *FREE])
    answer = json.loads(capsys.readouterr().out)
    assert code == 0, answer
    checks = {each["check"] for each in answer["findings"]}
    assert {"settings", "python", "packages", "run directory", "disk", "bridge.port"} <= checks
    assert {"open files", "memory", "connection backlog", "clock", "venues"} <= checks


def test_what_is_wrong_is_1_with_the_way_to_mend_it(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "thesis.txt").touch()
    file = run_dir / "bad.toml"
    file.write_text("nonsense = 1\n")
    assert main(["doctor", "--config", str(file), "--run-dir", str(run_dir), *FREE]) == 1
    out = capsys.readouterr().out
    assert "nonsense" in out
    assert "→ mdbus config check" in out
    assert "wrong," in out


def test_a_bus_that_runs_is_no_trouble(
    played_bus: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = str(played_bus.run_dir)  # type: ignore[attr-defined]
    assert main(["doctor", "--run-dir", run_dir]) == 0
    out = capsys.readouterr().out
    assert "in use by the supervisor with pid" in out
    assert "those in force, of the bus with pid" in out
    assert "(embedded mode)" in out


def test_what_up_live_would_be_refused_for_is_found(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor_verb, "venues", lambda *_, **__: [])
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    words = ["doctor", "--live", "--run-dir", str(run_dir), "--json", *FREE]

    def found() -> tuple[int, str]:
        code = main(words)
        rows = json.loads(capsys.readouterr().out)["findings"]
        (row,) = [row for row in rows if row["check"] == "feeds.finnhub.api_key_file"]
        return code, row["text"]

    code, text = found()
    assert code == 1
    assert "$FINNHUB_API_KEY" in text
    monkeypatch.setenv("FINNHUB_API_KEY", "k")
    assert found() == (0, "a key in $FINNHUB_API_KEY")


def test_keys_of_the_bridge_that_up_refuses_are_found(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--run-dir", str(run_dir), "--set", "bridge.auth=jwt", *FREE]
    assert main(["doctor", *words]) == 1
    assert "bridge.access.keys: is empty" in capsys.readouterr().out


def test_venues_are_looked_at_when_they_are_needed_or_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = {"x": ["wss://a", "https://b"], "y": ["wss://a"]}
    monkeypatch.setattr(doctor_verb, "venue_addresses", lambda _: urls)
    monkeypatch.setattr(doctor_verb, "reach", lambda check, url: Finding(check, OK, url))
    (unasked,) = doctor_verb.venues(Settings(), asked=False)
    assert "not needed" in unasked.text
    found = doctor_verb.venues(Settings(), asked=True)
    assert [(each.check, each.text) for each in found] == [
        *(("feeds.x", "wss://a"), ("feeds.x", "https://b"), ("feeds.y", "wss://a"))
    ]
